"""Which checkpoints go: never what a run could go on from, nor what is being written."""

from pathlib import Path

import pytest

from selfseg.training import checkpoint, retention
from tests.unit.training.test_checkpoint import RECORD, state


@pytest.fixture
def steps(tmp_path: Path) -> dict[int, str]:
    """Save three checkpoints; return their URLs by step."""
    return {step: checkpoint.save(str(tmp_path), state(step), RECORD) for step in (3, 5, 9)}


def test_pruning_keeps_the_newest(tmp_path, steps):
    retention.prune(str(tmp_path), 2, newest=9)
    assert checkpoint.committed(str(tmp_path)) == [steps[5], steps[9]]
    assert not Path(steps[3]).exists()


def test_damaged_ones_that_a_run_went_back_behind_do_not_take_the_place_of_whole_ones(
    tmp_path, steps
):
    """Of 3, 5 and a damaged 9 one is to be kept: 5, and 9 is left to be written again."""
    assert retention.superfluous(str(tmp_path), 1, newest=5) == [steps[3]]


def test_what_is_kept_for_good_does_not_go(tmp_path, steps):
    assert retention.superfluous(str(tmp_path), 1, newest=9, always={3}) == [steps[5]]


def test_what_was_begun_and_not_committed_is_unfinished(tmp_path, steps):
    Path(steps[5], "COMMIT.json").unlink()
    (tmp_path / "checkpoints/notes.txt").touch()
    assert retention.unfinished(str(tmp_path)) == [steps[5]]
    checkpoint.delete(steps[5])
    assert retention.unfinished(str(tmp_path)) == []
    assert checkpoint.committed(str(tmp_path)) == [steps[3], steps[9]]
