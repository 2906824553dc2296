"""The `selfseg` command, of whose workers each notes what it does at once: who, which step, when.

NOTES=FOLDER python -m tools.fault_suite.spied train RECIPE ...

The run is the product's own but for a journal that writes a second line. Killed workers take
unwritten lines of the journal with them; the notes hold what was truly trained, and trained again.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from selfseg.cli import main
from selfseg.runtime import ray_train
from selfseg.runtime.launch import launch
from selfseg.training import session
from selfseg.training.journal import Journal
from selfseg.training.loop import Step


class NotingJournal(Journal):
    """A journal that also notes each step in a file of this machine, before it returns."""

    def __init__(
        self, folder: Path, run_url: str, rank: int, first_step: int, *, launched: float | None
    ) -> None:
        super().__init__(run_url, rank, first_step, launched=launched)
        self._notes = folder / f"rank_{rank}.jsonl"
        self._note("begin", first_step)

    def add(self, step: Step, **costs: float) -> None:
        """Note the step here and there."""
        super().add(step, **costs)
        self._note("step", step.number)

    def _note(self, event: str, step: int) -> None:
        note = {"event": event, "pid": os.getpid(), "step": step, "time": time.time()}
        with self._notes.open("a") as notes:
            notes.write(json.dumps(note) + "\n")


def spied_worker(payload: dict[str, Any]) -> None:
    """Train one replica, and note it."""
    session.Journal = partial(NotingJournal, Path(payload["notes"]))
    ray_train.train_worker(payload)


def spied_launch(
    program: Callable[[dict[str, Any]], None], settings: dict[str, Any], **options: Any
) -> None:
    """Launch the spied worker in the place of the one it wraps."""
    assert program is ray_train.train_worker
    launch(spied_worker, {**settings, "notes": os.environ["NOTES"]}, **options)


if __name__ == "__main__":
    from tools.fault_suite import spied  # workers must find the function under this name

    ray_train.launch = spied.spied_launch
    sys.exit(main())
