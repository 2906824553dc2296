"""Whether a collection is what its manifests say, down to the last byte; and mending what is not.

Looked at are
    the pointer     to the newest manifest
    the chain       the manifests that a state grew from
    the objects     shards, indexes, catalogues and backgrounds against their SHA-256
    the samples     each part against its CRC-32, each index against its tar, each catalogue
                    against the indexes, and whether every frame of every video is there once
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from selfseg import storage
from selfseg.data.care.mending import Mend
from selfseg.data.care.shard_check import Fault, check_object, check_shard
from selfseg.data.format.catalogue import Stretch, parse_catalogue
from selfseg.data.format.holdings import (
    Holding,
    background_holdings,
    catalogue_holdings,
    manifest_holding,
    several_at_once,
    shard_holdings,
)
from selfseg.data.format.manifest import (
    LATEST,
    MANIFEST,
    SHOWN_DIGITS,
    Manifest,
    ShardEntry,
    find_collection,
    load_manifest,
    manifest_ids,
    newest_id,
    point_to,
    resolve,
)
from selfseg.data.format.schema import sample_key
from selfseg.errors import UsageError, UserError

Held = dict[str, bytes | None]
"""Fingerprint of the samples of each shard, by its name; None: its index cannot be read."""

FROM_THE_START = "it was written so, and no copy can mend it"

UNSEEN = -1


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    name: of the object, relative to the collection; "": of no single one
    cause: what is wrong, with the samples that are hit
    mended: how it was put right; None: it was not
    """

    name: str
    cause: str
    mended: str | None = None


@dataclass(frozen=True, slots=True)
class States:
    """A state of a collection, and those it grew from as far as they can be read.

    newest: the state; None: it cannot be read
    shards, catalogues, backgrounds: what any of them names, each once
    """

    newest: Manifest | None
    shards: tuple[ShardEntry, ...]
    catalogues: tuple[Holding, ...]
    backgrounds: tuple[Holding, ...]

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)


class Tally:
    """Which samples of a state have been met, and in which shard; four bytes for each."""

    def __init__(self, manifest: Manifest) -> None:
        """Expect every frame of every video once."""
        self._places = {
            video.id: np.full(video.frames, UNSEEN, np.int32) for video in manifest.videos
        }
        self._shards = {shard.name: number for number, shard in enumerate(manifest.shards)}
        self._names = [shard.name for shard in manifest.shards]

    def add(self, shard: str, held: Iterable[Stretch]) -> Iterator[str]:
        """Take note of the samples of a shard; yield what is wrong with them, by key.

        A shard that is only part of an earlier state is left alone.
        """
        number = self._shards.get(shard)
        if number is None:
            return
        for stretch in held:
            places = self._places.get(stretch.video_id, np.zeros(0, np.int32))
            for frame in range(stretch.frame, stretch.frame + stretch.frames):
                key = sample_key(stretch.video_id, frame)
                if not 0 <= frame < len(places):
                    yield f"{key}: no sample that the manifest counts"
                elif places[frame] != UNSEEN:
                    yield f"{key}: is in shards/{self._names[places[frame]]}.tar already"
                else:
                    places[frame] = number

    def unseen(self) -> Iterator[str]:
        """Yield which frames have not been met, video by video."""
        for video, places in self._places.items():
            missing = np.flatnonzero(places == UNSEEN).tolist()
            if missing:
                more = f", and {len(missing) - 1} more of its frames" if missing[1:] else ""
                yield f"{video}: no shard holds frame {missing[0]}{more}"


def find_state(url: str, *, repair: bool) -> tuple[str, str, list[Finding]]:
    """Return where the collection at `url` lies, the id of the state that it names, and findings.

    If the collection has lost its `LATEST`, that is one, and `repair` makes the manifest that no
    other grew from the newest again.

    Raises:
        UsageError: there are several such manifests, and `url` names none of them.
        UserError: there is no collection, or one of its manifests is damaged.
    """
    found = find_collection(url)
    if found is None or newest_id(found[0]) is not None:
        return *resolve(url), []
    place, head = found
    state = resolve(url)[1] if head else ""
    heads = _heads(place)
    if len(heads) > 1 and state not in heads:
        ids = ", ".join(manifest_id[:SHOWN_DIGITS] for manifest_id in heads)
        raise UsageError(
            f"{place}: has no {LATEST}, and each of {ids} may be the newest; "
            f"choose by tools/collection.py verify {place}@ID --repair"
        )
    newest = state if state in heads else heads[0]
    if repair:
        point_to(place, newest, None)
    mended = f"names {newest[:SHOWN_DIGITS]} again" if repair else None
    return place, state or newest, [Finding(LATEST, "gone", mended)]


def _heads(collection: str) -> list[str]:
    """Return the ids of the manifests that none of the others grew from."""
    ids = manifest_ids(collection)
    parents = {load_manifest(collection, manifest_id).parent for manifest_id in ids}
    return [manifest_id for manifest_id in ids if manifest_id not in parents]


def read_states(
    collection: str, manifest_id: str, mend: Mend | None
) -> tuple[States, list[Finding]]:
    """Read a state of a collection and those it grew from, of which one is held at a time.

    Args:
        collection: where it lies.
        manifest_id: of the state.
        mend: is asked to put damaged manifests right; None: only look.

    Returns:
        What they name, and what is wrong with their manifests.

    Raises:
        StorageError: the collection is out of reach.
    """
    newest: Manifest | None = None
    shards: dict[ShardEntry, None] = {}
    catalogues, backgrounds = dict[Holding, None](), dict[Holding, None]()
    findings: list[Finding] = []
    following: str | None = manifest_id
    while following is not None:
        holding = manifest_holding(following)
        if not MANIFEST.fullmatch(holding.name):
            findings.append(Finding(LATEST, f"names no manifest, but {following!r}"))
            break
        found = _checked_object(collection, mend, holding)
        findings += found
        if any(finding.mended is None for finding in found):
            break
        state = load_manifest(collection, following)
        newest = newest or state
        shards.update(dict.fromkeys(state.shards))
        catalogues.update(dict.fromkeys(catalogue_holdings(state)))
        backgrounds.update(dict.fromkeys(background_holdings(state)))
        following = state.parent
    return States(newest, tuple(shards), tuple(catalogues), tuple(backgrounds)), findings


def verify(
    collection: str,
    states: States,
    *,
    mend: Mend | None,
    report: Callable[[int], None],
) -> Iterator[Finding]:
    """Yield what is wrong with what states of a collection name.

    Args:
        collection: where it lies.
        states: see `read_states`; the newest is to hold every frame of every video once.
        mend: is asked to put damaged objects right, which are then checked again; None: only look.
        report: told the bytes of shards read so far, now and then.

    Raises:
        StorageError: the collection is out of reach.
    """
    if not states.newest:
        return
    tally, done = Tally(states.newest), 0
    held: Held = {}
    check = partial(_checked_shard, collection, mend)
    for shard, (findings, there) in several_at_once(check, states.shards):
        yield from findings
        held[shard.name] = None if there is None else _fingerprint(there)
        tar, _ = shard_holdings(shard)
        yield from (Finding(tar.name, cause) for cause in tally.add(shard.name, there or ()))
        done += shard.size
        report(done)
    if None not in held.values():  # otherwise these are but a consequence of what was named
        yield from (Finding("", cause) for cause in tally.unseen())
    # Only now are all indexes mended that can be, from which a catalogue is made anew.
    look = partial(_checked_object, collection, mend)
    for catalogue, found in several_at_once(look, states.catalogues):
        yield from found or _other_samples(collection, catalogue, held)
    for _, found in several_at_once(look, states.backgrounds):
        yield from found


def _checked_shard(
    collection: str, mend: Mend | None, shard: ShardEntry
) -> tuple[list[Finding], tuple[Stretch, ...] | None]:
    """Return what is wrong with a shard or was, and its samples as it is now."""
    checked = check_shard(collection, shard)
    findings = [_finding(fault, mend) for fault in checked.faults]
    if any(finding.mended for finding in findings):
        # What was put right may show what could not be seen before.
        checked = check_shard(collection, shard)
        named = {finding.name for finding in findings if not finding.mended}
        again = [fault for fault in checked.faults if fault.holding.name not in named]
        findings += [_finding(fault, None) for fault in again]
    return findings, checked.held


def _checked_object(collection: str, mend: Mend | None, holding: Holding) -> list[Finding]:
    fault = check_object(collection, holding)
    return [_finding(fault, mend)] if fault else []


def _finding(fault: Fault, mend: Mend | None) -> Finding:
    """Report a fault, put right if possible."""
    name = fault.holding.name
    if not fault.replaceable:
        return Finding(name, f"{fault.cause}; {FROM_THE_START}")
    if mend is None:
        return Finding(name, fault.cause)
    try:
        return Finding(name, fault.cause, mend(fault.holding))
    except UserError as error:
        return Finding(name, f"{fault.cause}; {error}")


def _other_samples(collection: str, catalogue: Holding, held: Held) -> Iterator[Finding]:
    """Yield the shards of which an intact catalogue tells something else than their indexes."""
    told = parse_catalogue(storage.read(catalogue.at(collection)))
    for shard, listed in told.items():
        there = held.get(shard)
        if there is not None and _fingerprint(listed) != there:
            cause = f"tells of shards/{shard}.tar other samples than its index; {FROM_THE_START}"
            yield Finding(catalogue.name, cause)


def _fingerprint(held: Iterable[Stretch]) -> bytes:
    """Return what tells the samples of two shards apart; the samples would fill the memory."""
    return hashlib.sha256(repr(tuple(held)).encode()).digest()
