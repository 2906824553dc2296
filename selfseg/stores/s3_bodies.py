"""Bodies of objects in buckets, which arrive in pieces and may break off anywhere."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ResponseStreamingError
from urllib3.exceptions import HTTPError

from selfseg.stores.errors import StorageError
from selfseg.stores.patience import Patience
from selfseg.stores.s3_client import Place, explained, request

PART = 8 << 20
"""Bytes that are asked for at a time where an object is fetched by several threads."""
_CHUNK = 1 << 18


def begin(url: str) -> Any:
    """Ask for the first part of an object, and thereby for its size and version."""

    def ask(client: Any) -> Any:
        try:
            return _get(url, 0, PART, None, client)
        except ClientError as error:
            if error.response["Error"].get("Code") != "InvalidRange":
                raise
            return _get(url, 0, None, None, client)  # an empty object has no first byte

    return request(url, ask)


def _get(url: str, offset: int, end: int | None, etag: str | None, client: Any) -> Any:
    condition = {"IfMatch": etag} if etag else {}
    if offset or end is not None:
        condition["Range"] = f"bytes={offset}-" + ("" if end is None else str(end - 1))
    answer = client.get_object(**Place.parse(url).object, **condition)
    if not _is_whole(answer):
        answer["Body"].close()
        raise ResponseStreamingError(error="the answer ends in its headers")
    if offset and not answer.get("ContentRange", "").startswith(f"bytes {offset}-"):
        raise StorageError(
            f"{url}: this server ignores ranges (Range: bytes=...), so that parts of an object "
            "cannot be read; use a server that honours them"
        )
    return answer


def _is_whole(answer: dict[str, Any]) -> bool:
    """Tell whether all headers are there; an answer that broke off in them passes for whole."""
    partial_content = answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    needed = {"ETag", "ContentLength"} | ({"ContentRange"} if partial_content else set())
    return needed <= answer.keys()


def chunks(
    url: str,
    offset: int = 0,
    size: int | None = None,
    etag: str | None = None,
    answer: Any = None,
) -> Iterator[bytes]:
    """Yield an object's bytes from `offset`, `size` of them or all.

    botocore's retries end where the body begins. A body that breaks off is continued where it
    broke, on the same version of the object, with waits that double. `answer` is that to the first
    request, if it was made already.
    """
    end = None if size is None else offset + size
    with explained(url), Patience(url) as patience:
        while end is None or offset < end:
            answer = answer or request(url, partial(_get, url, offset, end, etag))
            etag, end = answer["ETag"], offset + answer["ContentLength"]
            try:
                with closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(_CHUNK):
                        offset += len(chunk)
                        patience.renew()
                        yield chunk
            except (BotoCoreError, HTTPError, OSError) as error:
                patience.rest(error)
            answer = None
