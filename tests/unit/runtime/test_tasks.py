import pytest

from selfseg.runtime.tasks import share_of_each


@pytest.mark.parametrize(("gpus", "at_once"), [(1, 1), (1, 3), (2, 16), (8, 3)])
def test_calls_at_the_same_time_find_room_on_the_gpus(gpus, at_once):
    share = share_of_each(gpus, at_once)
    assert 0 < share <= 1
    assert at_once * share <= gpus
    assert share * 1e4 == pytest.approx(round(share * 1e4))


def test_without_gpus_none_is_asked_for():
    assert share_of_each(0, 4) == 0
