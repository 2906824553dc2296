"""Buckets as a store. A URL is s3://bucket/key; errors are `selfseg.stores.errors`."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from pyarrow import fs

from selfseg.stores import local
from selfseg.stores.errors import Conflict, CutOff, MissingObject, StorageError
from selfseg.stores.s3_bodies import PART, begin, chunks
from selfseg.stores.s3_client import CHANGED, Access, Place, one_line, request

MIB = 1 << 20
_PARTS_AT_ONCE = 4
_DELETED_AT_ONCE = 1000  # the protocol's limit
_UPLOAD = TransferConfig(multipart_threshold=32 * MIB, multipart_chunksize=16 * MIB)


def read(url: str) -> bytes:
    """Return an object's bytes."""
    return b"".join(chunks(url))


def read_range(url: str, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`."""
    data = b"".join(chunks(url, offset, size)) if size else b""
    if len(data) != size:
        raise CutOff(
            f"{url}: ends after {offset + len(data)} bytes, {offset + size} are needed; "
            "the object is cut off: write it again"
        )
    return data


class OpenObject:
    """An object of which parts are read, each by a request of its own."""

    def __init__(self, url: str) -> None:
        """Take the object at `url`; nothing is asked for yet."""
        self._url = url

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`."""
        return read_range(self._url, offset, size)

    def removed(self) -> bool:
        """Return false: it is no file."""
        return False


opened = OpenObject


def size(url: str) -> int:
    """Return an object's length in bytes."""
    return _head(url)["ContentLength"]


def written(url: str) -> float:
    """Return when an object was written last, in seconds since the epoch."""
    return _head(url)["LastModified"].timestamp()


def exists(url: str) -> bool:
    """Whether there is an object of this name; a missing bucket is an error."""
    try:
        _head(url)
    except MissingObject:
        return False
    return True


def write(url: str, data: bytes) -> None:
    """Put an object; readers see the old or the new one, whole."""
    request(url, lambda client: client.put_object(**Place.parse(url).object, Body=data))


def replace(url: str, data: bytes, expected: bytes | None) -> None:
    """Write `data` if the object still holds `expected` (None: if there is no object)."""
    try:
        _replace(url, data, {"IfNoneMatch": "*"} if expected is None else _match(url, expected))
    except MissingObject:
        raise Conflict(f"{url}: removed by another process meanwhile; run again") from None


def objects(url: str) -> dict[str, tuple[int, float]]:
    """Return bytes and time of the objects below a prefix, by relative name."""
    prefix = _prefix(url)
    return {
        entry["Key"].removeprefix(prefix): (entry["Size"], entry["LastModified"].timestamp())
        for page in _pages(url, prefix)
        for entry in page.get("Contents", [])
        if not entry["Key"].endswith("/")
    }


def entries(url: str) -> list[str]:
    """Return what lies directly below a prefix, relative and sorted; folders end in "/"."""
    prefix = _prefix(url)
    found: set[str] = set()
    for page in _pages(url, prefix, Delimiter="/"):
        found.update(entry["Key"] for entry in page.get("Contents", []))
        found.update(folder["Prefix"] for folder in page.get("CommonPrefixes", []))
    return sorted(key.removeprefix(prefix) for key in found - {prefix})


def delete(url: str) -> None:
    """Remove an object; it may be gone already."""
    request(url, lambda client: client.delete_object(**Place.parse(url).object))


def delete_tree(url: str) -> None:
    """Remove all objects below a prefix."""
    pages = _pages(url, _prefix(url))
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    for first in range(0, len(keys), _DELETED_AT_ONCE):
        request(url, partial(_delete_all, url, keys[first : first + _DELETED_AT_ONCE]))


def _delete_all(url: str, keys: list[str], client: Any) -> None:
    answer = client.delete_objects(
        Bucket=Place.parse(url).bucket,
        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
    )
    for error in answer.get("Errors", []):
        raise ClientError({"Error": error}, "DeleteObjects")


def download(url: str, path: Path) -> None:
    """Copy an object to `path`, which appears only when complete."""
    with local.replacing(path) as file:
        pour(url, partial(local.write_at, file.fileno()))


def pour(url: str, write: Callable[[bytes, int], object]) -> int:
    """Hand an object's bytes to `write(bytes, offset)`; a large one's from several threads.

    Returns how many there are.

    What fails first, `write` included, ends the other parts and is raised.
    """
    first = begin(url)
    first_end = first["ContentLength"]
    size = int(first.get("ContentRange", f"/{first_end}").rpartition("/")[2])
    stop = threading.Event()

    def copy(start: int, end: int, answer: Any) -> None:
        offset = start
        for chunk in chunks(url, start, end - start, first["ETag"], answer):
            if stop.is_set():
                return
            write(chunk, offset)
            offset += len(chunk)
        if offset != end:
            raise StorageError(f"{url}: bytes {start} to {end} end at {offset}; run again")

    spans = [(start, min(start + PART, size), None) for start in range(first_end, size, PART)]
    with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
        parts = [pool.submit(copy, *span) for span in [(0, first_end, first), *spans]]
        try:
            for part in as_completed(parts):
                part.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return size


def upload(path: Path, url: str) -> None:
    """Copy a file to an object; a large one travels in parts, several at a time."""
    place = Place.parse(url).object

    def send(client: Any) -> None:
        with path.open("rb") as file:
            client.upload_fileobj(file, place["Bucket"], place["Key"], Config=_UPLOAD)

    with local.explained(str(path)):
        request(url, send)


def probe(url: str) -> None:
    """See that bucket, keys and conditional writes work by writing and removing an object."""
    place = Place.parse(url)
    witness = Place(place.bucket, f"{_prefix(url)}.selfseg-probe-{uuid4().hex}").object
    request(url, partial(_probe_conditions, url, witness))
    _probe_arrow(url)


def arrow_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """Return pyarrow's view of the prefix, with the same keys and endpoint."""
    access = Access.from_environment(url)
    endpoint = urlsplit(access.endpoint)
    place = Place.parse(url)
    filesystem = fs.S3FileSystem(
        access_key=access.access_key,
        secret_key=access.secret_key,
        session_token=access.session_token,
        region=access.region,
        scheme=endpoint.scheme or "https",
        endpoint_override=endpoint.netloc or None,
        connect_timeout=4,
        request_timeout=60,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=10),
        tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE") or None,  # botocore reads it by itself
    )
    return filesystem, f"{place.bucket}/{place.key}".rstrip("/")


def _probe_conditions(url: str, witness: dict[str, str], client: Any) -> None:
    client.put_object(**witness, Body=b"")
    try:
        client.put_object(**witness, Body=b"", IfNoneMatch="*")
    except ClientError as error:
        if error.response["Error"]["Code"] not in CHANGED:
            raise
    else:
        raise StorageError(
            f"{url}: this server ignores conditional writes (If-None-Match), so that two "
            "writers could undo each other's work; use a server that honours them"
        )
    finally:
        client.delete_object(**witness)


def _probe_arrow(url: str) -> None:
    filesystem, path = arrow_filesystem(url)
    try:
        filesystem.get_file_info(path)
    except OSError as error:
        raise StorageError(
            f"{url}: boto3 reaches this place but pyarrow, which Ray writes with, does not: "
            f"{one_line(error)}; see that proxies and certificates serve both"
        ) from error


def _prefix(url: str) -> str:
    key = Place.parse(url).key
    return f"{key}/" if key else ""


def _pages(url: str, prefix: str, **how: str) -> Iterator[dict[str, Any]]:
    asked = {"Bucket": Place.parse(url).bucket, "Prefix": prefix, **how}
    while True:
        page = request(url, lambda client: client.list_objects_v2(**asked))
        yield page
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]


def _head(url: str) -> Any:
    place = Place.parse(url).object

    def ask(client: Any) -> Any:
        try:
            return client.head_object(**place)
        except ClientError:
            # The answer to HEAD has no body and so no reason; that to GET has one.
            with closing(client.get_object(**place)["Body"]):
                raise

    return request(url, ask)


def _match(url: str, expected: bytes) -> dict[str, str]:
    etag = _head(url)["ETag"]
    if b"".join(chunks(url, etag=etag)) != expected:
        raise Conflict(f"{url}: changed by another process meanwhile; run again")
    return {"IfMatch": etag}


def _replace(url: str, data: bytes, condition: dict[str, str]) -> None:
    attempts = 0

    def put(client: Any) -> None:
        nonlocal attempts
        attempts += 1
        try:
            client.put_object(**Place.parse(url).object, Body=data, **condition)
        except ClientError as error:
            # A write whose answer was lost is sent again and then meets itself.
            retried = error.response["ResponseMetadata"].get("RetryAttempts", 0) or attempts > 1
            changed = error.response["Error"].get("Code") in CHANGED
            if not (retried and changed and read(url) == data):
                raise

    request(url, put)
