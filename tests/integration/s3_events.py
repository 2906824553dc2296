"""What this process asks the S3 server for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selfseg.stores.s3_client import connect


@contextmanager
def noting(url: str, event: str, note: Callable[..., Any]) -> Iterator[None]:
    """Have `note` told of requests, "before-call.s3" or one kind of them, while this lasts."""
    events = connect(url).meta.events
    events.register(event, note)
    try:
        yield
    finally:
        events.unregister(event, note)
