"""A small collection, ways to damage it, and what is then found."""

from pathlib import Path

from selfseg import storage
from selfseg.data.care.mending import mending
from selfseg.data.care.verifying import Finding, read_states, verify
from selfseg.data.format.manifest import Manifest, commit_manifest, load_manifest, newest_id
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(7), "car": moving_disc(4, seed=5, pan=(1, 0))}


def found(url: str, *, repair: bool = False, spare: str | None = None) -> list[Finding]:
    mend = mending(url, spare) if repair else None
    states, findings = read_states(url, newest_id(url) or "", mend)
    return findings + list(verify(url, states, mend=mend, report=lambda _: None))


def the_only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def contents(url: str) -> dict[str, bytes]:
    return {name: storage.read(storage.join(url, name)) for name in storage.listing(url)}


def first_shard(url: str) -> tuple[str, Path]:
    """Return its name in the collection, and its file."""
    name = f"shards/{load_manifest(url).shards[0].name}.tar"
    return name, Path(url) / name


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def commit(url: str, **changes: object) -> Manifest:
    """Publish a state that says something else than the newest."""
    newest = load_manifest(url)
    manifest = newest.override(changes | {"parent": newest.id})
    commit_manifest(url, manifest, newest.id)
    return manifest
