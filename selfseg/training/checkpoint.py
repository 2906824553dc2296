"""All state a run needs to go on bit for bit, in a folder or bucket, verified when it is read.

    RUN/checkpoints/step_00000100/
        method.safetensors    players' weights
        average.safetensors   running mean of them, if the run keeps one; prediction uses it
        optimisers.pt         optimisers and the worker's state; read with weights_only
        progress.json         steps taken and skipped; where the run moved to more data or lost some
        settings.json         what the run was started with (`RunRecord`)
        COMMIT.json           sha256 and size of each file above, versions, time; written last

Without COMMIT.json a folder is not a checkpoint: a crash while saving leaves the one before as
the newest.
"""

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from selfseg import storage
from selfseg.config import Config
from selfseg.errors import UserError

COMMIT = "COMMIT.json"
WEIGHTS, AVERAGE, OPTIMISERS = "method.safetensors", "average.safetensors", "optimisers.pt"
PROGRESS, SETTINGS = "progress.json", "settings.json"
FILES = {WEIGHTS, AVERAGE, OPTIMISERS, PROGRESS, SETTINGS}

FOREIGN = (KeyError, TypeError, ValueError, RuntimeError, SafetensorError, pickle.UnpicklingError)
"""What reading intact files of another make raises."""


class DamagedCheckpoint(UserError):  # noqa: N818 - what it says, not that it is one
    """A checkpoint is not what was written; an older one may be."""


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
    """

    step: int
    skipped: int
    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    optimisers: Mapping[str, Any]
    worker: Mapping[str, Any]
    course: Sequence[Mapping[str, Any]] = ()


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


def save(run_url: str, state: TrainingState, record: RunRecord) -> str:
    """Write and commit a checkpoint; return its URL."""
    url = step_url(run_url, state.step)
    # The commit goes first: a damaged checkpoint of this step must not vouch for the new files.
    storage.delete(storage.join(url, COMMIT))
    storage.delete_tree(url)
    buffer = io.BytesIO()
    torch.save({"optimisers": state.optimisers, "worker": state.worker}, buffer)
    progress: dict[str, Any] = {"step": state.step, "skipped": state.skipped}
    if state.course:
        progress["course"] = list(state.course)
    files = {
        WEIGHTS: _pack(state.weights),
        OPTIMISERS: buffer.getvalue(),
        PROGRESS: _to_json(progress),
        SETTINGS: _to_json(record.model_dump(mode="json")),
    }
    if state.average is not None:
        files[AVERAGE] = _pack(state.average)
    for name, data in files.items():
        storage.write(storage.join(url, name), data)
    commit = {
        "files": {name: fingerprint(data) for name, data in files.items()},
        "versions": {name: version(name) for name in ("selfseg", "torch", "safetensors")},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    storage.write(storage.join(url, COMMIT), _to_json(commit))
    return url


def load(url: str) -> tuple[TrainingState, RunRecord]:
    """Read and verify the checkpoint at `url`; tensors are on the CPU.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed.
    """
    files = _read_verified(url, lambda names: names)
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
        )
        return state, RunRecord.parse(json.loads(files[SETTINGS]), origin=url)
    except FOREIGN as error:
        raise _foreign(url, error) from None


def read_inference(url: str) -> Inference:
    """Read and verify what prediction needs of the checkpoint at `url`.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed.
    """
    files = _read_verified(
        url, lambda names: {AVERAGE if AVERAGE in names else WEIGHTS, PROGRESS, SETTINGS}
    )
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
    """Find the newest checkpoint that verifies; also return one line on each that did not."""
    notes: list[str] = []
    for url in reversed(committed(run_url)):
        damage = next(damages(url), None)
        if damage is None:
            return url, notes
        notes.append(f"{damage}; going on from the one before")
    return None, notes


def verify(url: str) -> None:
    """Compare every file of the checkpoint at `url` with what was committed.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed.
    """
    for error in damages(url):
        raise error


def damages(url: str) -> Iterator[DamagedCheckpoint]:
    """Yield what is wrong with the checkpoint at `url`, file by file; nothing where it is whole."""
    try:
        files = read_commit(url)["files"]
    except DamagedCheckpoint as error:
        yield error
        return
    for name in sorted(files):
        try:
            _read_file(url, name, files[name])
        except DamagedCheckpoint as error:
            yield error


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


def _read_verified(url: str, choose: Callable[[set[str]], set[str]]) -> dict[str, bytes]:
    """Read the files that `choose` picks of the committed names, and check each."""
    listed = read_commit(url)["files"]
    return {name: _read_file(url, name, listed[name]) for name in choose(set(listed))}


def read_commit(url: str) -> dict[str, Any]:
    """Return what the checkpoint at `url` was committed with: its "files", and more.

    Raises:
        DamagedCheckpoint: it was never committed, or this cannot be read.
    """
    try:
        commit = json.loads(storage.read(storage.join(url, COMMIT)))
        commit["files"] = dict(commit["files"])
    except storage.MissingObject:
        raise DamagedCheckpoint(f"{url}: no {COMMIT}: not a finished checkpoint") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedCheckpoint(f"{url}: damaged: {COMMIT} is not readable") from None
    if strange := set(commit["files"]) - FILES:  # a name may be a path to elsewhere
        raise DamagedCheckpoint(f"{url}: damaged: {COMMIT} names {min(strange)!r}")
    return commit


def _read_file(url: str, name: str, committed_as: Mapping[str, Any]) -> bytes:
    """Read one file of the checkpoint at `url`, and compare it with what was committed."""
    try:
        data = storage.read(storage.join(url, name))
    except storage.MissingObject:
        raise DamagedCheckpoint(f"{url}: damaged: {name} is missing") from None
    if fingerprint(data) != committed_as:
        raise DamagedCheckpoint(f"{url}: damaged: {name} is not what was written")
    return data


def _foreign(url: str, error: Exception) -> UserError:
    return UserError(
        f"{url}: intact, but not a checkpoint of this version of selfseg: "
        f"{type(error).__name__} {' '.join(str(error).split())}"
    )


def fingerprint(data: bytes) -> dict[str, Any]:
    """Return what a commit notes of a file."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _pack(weights: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({n: w.detach().cpu().contiguous() for n, w in weights.items()})


def _to_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
