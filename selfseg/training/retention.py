"""Which of a run's checkpoints go, so that a long run does not fill its store.

What a run could go on from is never deleted: its newest whole checkpoint stays, and so does all
that is later, which is damaged or being written by a running process.
"""

import re
from collections.abc import Collection

from selfseg import storage
from selfseg.training import damaged
from selfseg.training.checkpoint import committed, delete, step_url
from selfseg.training.commit import COMMIT


def prune(run_url: str, keep: int, *, newest: int, always: Collection[int] = ()) -> None:
    """Delete what `superfluous` names."""
    for url in superfluous(run_url, keep, newest=newest, always=always):
        delete(url)


def superfluous(run_url: str, keep: int, *, newest: int, always: Collection[int] = ()) -> list[str]:
    """Return the URLs of committed checkpoints that may go, oldest first.

    Args:
        run_url: the run.
        keep: how many stay at least, counted back from step `newest`; at least 1.
        newest: step of the newest whole checkpoint. Later ones neither count nor go: a run that
            went back behind damaged ones must not lose to them what it saves.
        always: steps whose checkpoints stay besides.
    """
    kept = {step_url(run_url, step) for step in always}
    last = step_url(run_url, newest)
    older = [url for url in committed(run_url) if url <= last]
    return [url for url in older[:-keep] if url not in kept]


def set_aside(run_url: str) -> str:
    """Move all checkpoints of a run out of the way of new ones; return where they lie now."""
    names = storage.listing(storage.join(run_url, "checkpoints"))
    return damaged.set_aside(run_url, [f"checkpoints/{name}" for name in names])


def step_of(url: str) -> int:
    """Return the step of the checkpoint at `url`."""
    return int(url.rstrip("/").rpartition("_")[2])


def unfinished(run_url: str) -> list[str]:
    """Return the URLs of checkpoints that were begun and not committed, oldest first.

    One of them may be in the making by a running process.
    """
    folder = storage.join(run_url, "checkpoints")
    names = storage.listing(folder)
    begun = {step[0] for step in (re.match(r"step_\d+(?=/)", name) for name in names) if step}
    return [storage.join(folder, step) for step in sorted(begun) if f"{step}/{COMMIT}" not in names]
