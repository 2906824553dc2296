"""All state a run needs to go on bit for bit, in a folder or bucket, verified when it is read.

    RUN/checkpoints/step_00000100/
        method.safetensors    players' weights
        average.safetensors   running mean of them, if the run keeps one; prediction uses it
        optimisers.pt         optimisers and the worker's state; read with weights_only
        progress.json         steps taken and skipped; rollbacks; where the run moved to more data
                              or lost some
        settings.json         what the run was started with (`RunRecord`)
        COMMIT.json           sha256 and size of each file above, versions, time; written last

Without COMMIT.json a folder is not a checkpoint: a crash while saving leaves the one before as
the newest.
"""

import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from selfseg import storage
from selfseg.config import Config
from selfseg.errors import UserError
from selfseg.training.commit import (
    AVERAGE,
    COMMIT,
    OPTIMISERS,
    PROGRESS,
    SETTINGS,
    WEIGHTS,
    DamagedCheckpoint,
    commit,
    damages,
    read_verified,
    to_json,
)

FOREIGN = (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError)
"""What reading intact files of another make raises."""


class RunRecord(Config):
    """What a run learns from and how: kept in its folder and in each checkpoint."""

    settings: dict[str, Any]
    """The resolved experiment."""

    collection: str
    """URL of the collection, for people; its identity is the manifest."""

    manifest: str
    """Identity of what was read."""

    ingest: dict[str, Any]
    """How the collection was prepared; a new video is prepared the same way."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """A run between two steps. Tensors may live on any device.

    course: where it moved to newer states of what it reads, and what it lost of it, in JSON's
        types; empty: neither
    recent: steps that were left out lately, see `selfseg.training.loop.Progress`
    rollbacks: the runs of steps [start, stop) that left no trace in the weights: at `stop` it
        went on with those of the checkpoint of `start`
    """

    step: int
    skipped: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    optimisers: Mapping[str, Any]
    worker: Mapping[str, Any]
    course: Sequence[Mapping[str, Any]] = ()
    recent: Sequence[int] = ()
    rollbacks: Sequence[Sequence[int]] = ()


@dataclass(frozen=True, slots=True)
class Inference:
    """What prediction needs of a checkpoint; weights are the running mean where there is one."""

    url: str
    step: int
    weights: dict[str, Tensor]
    settings: dict[str, Any]
    ingest: dict[str, Any]
    collection: str
    manifest: str


def save(
    run_url: str,
    state: TrainingState,
    record: RunRecord,
    *,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Write and commit a checkpoint; return its URL.

    Args:
        run_url: the run.
        state: what is saved.
        record: what the run learns from and how.
        check: called before the commit; what it raises leaves the checkpoint uncommitted.
    """
    url = step_url(run_url, state.step)
    delete(url)  # a damaged checkpoint of this step must not vouch for the new files
    buffer = io.BytesIO()
    torch.save({"optimisers": state.optimisers, "worker": state.worker}, buffer)
    progress: dict[str, Any] = {"step": state.step, "skipped": state.skipped}
    seldom = {"course": state.course, "recent": state.recent, "rollbacks": state.rollbacks}
    progress |= {name: list(noted) for name, noted in seldom.items() if noted}
    files = {
        WEIGHTS: _pack(state.weights),
        OPTIMISERS: buffer.getvalue(),
        PROGRESS: to_json(progress),
        SETTINGS: to_json(record.model_dump(mode="json")),
    }
    if state.average is not None:
        files[AVERAGE] = _pack(state.average)
    for name, data in files.items():
        storage.write(storage.join(url, name), data)
    check()
    commit(url, files)
    return url


def load(url: str) -> tuple[TrainingState, RunRecord]:
    """Read and verify the checkpoint at `url`; tensors are on the CPU.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed.
    """
    files = read_verified(url, lambda names: names)
    try:
        progress = json.loads(files[PROGRESS])
        rest = torch.load(io.BytesIO(files[OPTIMISERS]), map_location="cpu", weights_only=True)
        state = TrainingState(
            step=progress["step"],
            skipped=progress["skipped"],
            weights=safetensors.torch.load(files[WEIGHTS]),
            average=safetensors.torch.load(files[AVERAGE]) if AVERAGE in files else None,
            optimisers=rest["optimisers"],
            worker=rest["worker"],
            course=progress.get("course", ()),
            recent=progress.get("recent", ()),
            rollbacks=progress.get("rollbacks", ()),
        )
        return state, RunRecord.parse(json.loads(files[SETTINGS]), origin=url)
    except FOREIGN as error:
        raise _foreign(url, error) from None


def read_inference(url: str) -> Inference:
    """Read and verify what prediction needs of the checkpoint at `url`.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed; names the run's newest
            whole checkpoint, to take instead.
    """
    try:
        files = read_verified(
            url, lambda names: {AVERAGE if AVERAGE in names else WEIGHTS, PROGRESS, SETTINGS}
        )
    except DamagedCheckpoint as error:
        raise DamagedCheckpoint(f"{error}; {_instead_of(url)}") from None
    try:
        record = RunRecord.parse(json.loads(files[SETTINGS]), origin=url)
        return Inference(
            url=url,
            step=json.loads(files[PROGRESS])["step"],
            weights=safetensors.torch.load(files.get(AVERAGE) or files[WEIGHTS]),
            settings=record.settings,
            ingest=record.ingest,
            collection=record.collection,
            manifest=record.manifest,
        )
    except FOREIGN as error:
        raise _foreign(url, error) from None


def read_course(run_url: str) -> list[dict[str, Any]]:
    """Return where a run moved to newer states of what it reads, and where it lost a shard.

    Moves have a manifest, losses a shard; its newest checkpoint knows.
    """
    for url in committed(run_url)[-1:]:
        try:
            return json.loads(storage.read(storage.join(url, PROGRESS))).get("course", [])
        except (storage.MissingObject, ValueError):
            break
    return []


def committed(run_url: str) -> list[str]:
    """Return the URLs of a run's committed checkpoints, oldest first."""
    names = storage.listing(storage.join(run_url, "checkpoints"))
    folders = sorted(name.removesuffix(f"/{COMMIT}") for name in names if name.endswith(COMMIT))
    return [storage.join(run_url, "checkpoints", folder) for folder in folders]


def step_url(run_url: str, step: int) -> str:
    """Return where the run's checkpoint after `step` steps is, or would be."""
    return storage.join(run_url, "checkpoints", f"step_{step:08d}")


def newest_whole(run_url: str) -> tuple[str | None, list[str]]:
    """Find the newest checkpoint that verifies; also return one line on each that did not.

    Raises:
        UserError: one on the way is of a newer selfseg.
    """
    notes: list[str] = []
    for url in reversed(committed(run_url)):
        damage = next(damages(url), None)
        if damage is None:
            return url, notes
        notes.append(f"{damage}; going on from the one before")
    return None, notes


def resolve(url: str) -> str:
    """Turn the URL of a run or of a checkpoint into that of a committed checkpoint.

    A run stands for its newest one.

    Raises:
        UserError: neither, or a run without a checkpoint; one line with the remedy.
    """
    if storage.exists(storage.join(url, COMMIT)):
        return url
    if found := committed(url):
        return found[-1]
    names = storage.listing(url)
    if "run.json" in names:
        raise UserError(f"{url}: this run has no checkpoint yet: let it train to the first one")
    if SETTINGS in names:
        raise UserError(f"{url}: this checkpoint was never finished: give its run's URL instead")
    what = "neither a run nor a checkpoint" if names else "nothing there"
    raise UserError(f"{url}: {what}: give the --run of `selfseg train`, or a folder below it")


def _instead_of(url: str) -> str:
    """Tell what to take where the checkpoint at `url` is damaged."""
    run_url, inside, _ = url.rpartition("/checkpoints/")
    whole = newest_whole(run_url)[0] if inside else None
    return f"give {whole}, the newest whole one" if whole else "give another"


def delete(url: str) -> None:
    """Delete the checkpoint at `url`; the commit goes first: a half-deleted one is none."""
    storage.delete(storage.join(url, COMMIT))
    with suppress(storage.MissingObject):  # a running process prunes as well
        storage.delete_tree(url)


def _foreign(url: str, error: Exception) -> UserError:
    return UserError(
        f"{url}: intact, but not a checkpoint of this version of selfseg: "
        f"{type(error).__name__} {' '.join(str(error).split())}"
    )


def _pack(weights: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({n: w.detach().cpu().contiguous() for n, w in weights.items()})
