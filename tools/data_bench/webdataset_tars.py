"""webdataset reads plain tars in order through a buffer that it shuffles."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from data_bench.reading import BATCH, SEED, Batch, NotOfferedError, Pause, Reading, begin, to_batch
from webdataset.compat import WebDataset, WebLoader
from webdataset.gopen import gopen_schemes

BUFFER = 1000
"""Samples that are shuffled together, as in its documentation."""


def write(frames: Sequence[Path], folder: Path) -> None:
    """Nothing: the tars are those that selfseg writes."""
    raise NotOfferedError("it reads selfseg's shards")


def batches(reading: Reading, state: Any = None) -> Iterator[Batch]:
    """Yield batches; a pipeline has no state."""
    if state is not None:
        raise NotOfferedError("it does not know where it stopped within an epoch")
    if reading.checked:
        raise NotOfferedError("it keeps no checksums")
    gopen_schemes["s3"] = _open_object
    urls = _shards(reading.place)
    dataset = (
        WebDataset(urls, shardshuffle=len(urls), empty_check=False, seed=SEED)
        .shuffle(BUFFER)
        .map(_keyed)
        .batched(BATCH, collation_fn=partial(to_batch, decoded=reading.decoded))
    )
    loader = WebLoader(
        dataset,
        batch_size=None,
        num_workers=reading.processes,
        worker_init_fn=begin,
        persistent_workers=reading.processes > 0,
    )
    while True:
        yield from loader


def pause(reading: Reading, after: int) -> Pause:
    """Refuse: there is nothing to go on from."""
    raise NotOfferedError("it does not know where it stopped within an epoch")


def _keyed(sample: dict[str, Any]) -> tuple[str, bytes]:
    return sample["__key__"], sample["image.jpg"]


def _shards(place: str) -> list[str]:
    if not place.startswith("s3://"):
        return sorted(map(str, Path(place, "shards").glob("*.tar")))
    bucket = urlsplit(place).netloc
    found = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="shards/")["Contents"]
    return [f"{place}/{entry['Key']}" for entry in found if entry["Key"].endswith(".tar")]


def _open_object(url: str, *_: Any, **__: Any) -> Any:
    """Stream an object: webdataset itself would call a program for it, which is slower."""
    address = urlsplit(url)
    client = boto3.client("s3")
    return client.get_object(Bucket=address.netloc, Key=address.path.lstrip("/"))["Body"]
