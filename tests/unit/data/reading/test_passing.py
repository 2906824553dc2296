import numpy as np
import psutil
import pytest

from selfseg.data.reading.passing import GROWTH, SLOTS, Sent, Slots
from selfseg.errors import UserError


def item(number: int, size: int = 10) -> dict:
    return {"key": f"k{number}", "image": np.full((2, size), float(number))}


def handed(slots: Slots, given, process: int = 0):
    """Return where an item went, and what arrived."""
    sent = slots.sent(given, process)
    assert isinstance(sent, Sent)
    return sent.slot, slots.received(sent)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(12).reshape(3, 4).T,
        np.arange(12.0)[::3],
        np.arange(12.0)[::-1],
        np.broadcast_to(np.zeros(1), (5, 3)),
        np.array([True, False, True]),
        np.array(2.5),
        np.array([1.5, -3.0], np.float16),
        np.arange(7, dtype=np.uint8),
    ],
)
def test_an_array_arrives_as_it_was(array):
    empty = np.zeros((0, 3))
    _, (first, nothing, second, key) = handed(Slots(1), (array, empty, np.ones(5), "swan"))
    assert first.dtype == array.dtype
    assert first.shape == array.shape
    assert np.array_equal(first, array)
    assert nothing.shape == (0, 3)
    assert np.array_equal(second, np.ones(5))
    assert key == "swan"


def test_what_arrives_may_be_written_to_and_shares_no_byte_with_its_neighbour():
    _, (first, second) = handed(Slots(1), (np.zeros(5), np.zeros(5)))
    first += 1
    assert np.array_equal(second, np.zeros(5))


def test_a_slot_is_filled_again_once_nothing_of_its_item_is_kept():
    slots = Slots(1)
    first, kept = handed(slots, item(1))
    second, other = handed(slots, item(2))
    assert first != second
    kept = kept["image"][0, 3:5]  # a view of a view keeps the item, too
    assert handed(slots, item(3))[0] not in {first, second}
    assert np.array_equal(kept, np.array([1.0, 1.0]))
    del kept
    assert handed(slots, item(4))[0] == first
    assert np.array_equal(other["image"], item(2)["image"])


def test_a_process_without_a_free_slot_sends_the_item_itself():
    slots = Slots(2)
    kept = [handed(slots, item(number)) for number in range(SLOTS)]
    given = item(SLOTS)
    assert slots.sent(given, 0) is given
    assert slots.received(given) is given
    slot, _ = handed(slots, item(9), process=1)
    assert slot not in {taken for taken, _ in kept}
    for number, (_, arrived) in enumerate(kept):
        assert np.array_equal(arrived["image"], item(number)["image"])


def test_a_slot_grows_with_what_is_put_into_it():
    slots = Slots(1)
    small = handed(slots, item(1))[0]
    large = item(2, size=GROWTH)
    slot, arrived = handed(slots, large)
    assert slot == small
    assert np.array_equal(arrived["image"], large["image"])


@pytest.mark.parametrize("given", [UserError("a line"), ("only", "text"), None])
def test_what_has_no_tensor_goes_as_it_is(given):
    assert Slots(1).sent(given, 0) is given


def test_memory_and_files_go_with_the_slots():
    process = psutil.Process()
    before = process.num_fds()
    slots = Slots(3)
    _, arrived = handed(slots, item(1))
    assert process.num_fds() > before
    del slots
    assert np.array_equal(arrived["image"], item(1)["image"])  # outlives them
    del arrived
    assert process.num_fds() == before
