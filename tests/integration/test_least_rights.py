"""The policies of docs/security.md suffice: what is asked for is allowed, and enforced it works."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from selfseg import storage
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.data.reading.selection import DataConfig
from selfseg.runtime import ray_train
from selfseg.stores import s3_client
from selfseg.training import checkpoint
from tests.exact_collection import write_collection
from tests.integration.test_grown_run import CONFIG, FEW, in_this_process
from tools.local_s3 import Keys, local_s3

__all__ = ["in_this_process"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"

ACTIONS = {
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
}
"""What S3 asks of who makes a request, by the API's reference."""

COLLECTIONS, RUNS = "collections", "runs"
READER, TRAINER = Keys("READER", "secret of the reader"), Keys("TRAINER", "secret of the trainer")


def allowed(policy: str) -> set[tuple[str, str]]:
    """Return the actions that a policy of the document allows, each with the bucket's name."""
    text = re.search(rf"<!-- policy: {policy} -->\n```json\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert text
    return {
        (action, resource.removeprefix("arn:aws:s3:::").partition("/")[0].lower())
        for statement in json.loads(text[1])["Statement"]
        for action in statement["Action"]
        for resource in statement["Resource"]
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[dict[str, str]]:
    read = [f"{right}:{bucket}" for bucket in (COLLECTIONS, RUNS) for right in ("Read", "List")]
    others = {READER: read, TRAINER: [*read, f"Write:{RUNS}"]}
    folder = tmp_path_factory.mktemp("s3")
    with local_s3(folder, [COLLECTIONS, RUNS], others=others) as environment:
        yield environment


@pytest.fixture(autouse=True)
def _at_the_server(server, tmp_path, monkeypatch) -> None:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def asked(monkeypatch) -> Iterator[set[tuple[str, str]]]:
    """Give the actions that were needed so far, each with its bucket."""
    needed: set[tuple[str, str]] = set()
    client = s3_client._client

    def noting(*arguments: Any, **options: Any) -> Any:
        def note(params: dict[str, Any], model: Any, **_: Any) -> None:
            needed.add((ACTIONS[model.name], params["Bucket"]))

        made = client(*arguments, **options)
        for operation in ACTIONS:
            made.meta.events.register(f"provide-client-params.s3.{operation}", note)
        # What the table does not know of must not pass unseen.
        made.meta.events.register("before-call.s3", lambda model, **_: seen.add(model.name))
        return made

    seen: set[str] = set()
    monkeypatch.setattr(s3_client, "_client", noting)
    s3_client._connect.cache_clear()
    yield needed
    s3_client._connect.cache_clear()
    assert seen <= ACTIONS.keys() | {"ListBuckets"}


def become(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret)


def test_who_trains_needs_no_more_and_can_delete_nothing_of_the_collection(
    asked, in_this_process, monkeypatch
):
    collection, run = f"s3://{COLLECTIONS}/films", f"s3://{RUNS}/first"
    write_collection(collection, FEW, gaps=(1,))
    asked.clear()
    become(TRAINER, monkeypatch)
    config = CONFIG.override({"loop.keep_checkpoints": 1})
    ray_train.train(config, collection_url=collection, run_url=run)
    assert checkpoint.committed(run) == [checkpoint.step_url(run, 4)]
    # Needed where a state is named, as in URL@ID, and to tell what is missing from what is denied.
    assert asked == allowed("training") - {("s3:ListBucket", COLLECTIONS)}
    for forbidden in (storage.delete, lambda url: storage.write(url, b"")):
        with pytest.raises(storage.StorageError, match="access denied; give TRAINER the right"):
            forbidden(f"{collection}/LATEST")


def test_who_reads_needs_no_more_and_can_write_nothing(asked, monkeypatch):
    collection, run = f"s3://{COLLECTIONS}/read", f"s3://{RUNS}/read"
    write_collection(collection, FEW, gaps=(1,))
    storage.write(f"{run}/checkpoints/step_00000001/COMMIT.json", b"{}")
    asked.clear()
    become(READER, monkeypatch)
    config = DataConfig(height=24, width=32, batch_size=4, gaps=(1,), loader_processes=0)
    stream = batches(Collection.open(collection), config, seed=0, step=0, rank=0, world_size=1)
    assert len(next(stream).keys) == 4
    stream.close()
    Collection.open(collection, fetch=False).record(0).meta()
    assert storage.listing(collection)
    assert storage.read(f"{checkpoint.resolve(run)}/COMMIT.json") == b"{}"
    assert asked == allowed("reading")
    for place in (collection, run):
        with pytest.raises(storage.StorageError, match="access denied; give READER the right"):
            storage.write(f"{place}/x", b"")


def test_who_ingests_needs_no_more(asked):
    collection = f"s3://{COLLECTIONS}/ingested"
    write_collection(collection, FEW, gaps=(1,))
    storage.probe(collection)
    storage.delete(f"{collection}/spool/x.tar")
    storage.listing(collection)
    assert asked <= allowed("ingest")
    # An upload in parts that fails is given up by this.
    assert allowed("ingest") - asked == {("s3:AbortMultipartUpload", COLLECTIONS)}
