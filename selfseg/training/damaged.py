"""What of a run cannot be read is moved to where nothing overwrites or deletes it.

RUN/damaged/20261123T152753/attempts/0001.json    was RUN/attempts/0001.json until then
"""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TypeVar

from selfseg import storage
from selfseg.errors import UserError

T = TypeVar("T")


class DamagedRecord(UserError):  # noqa: N818 - what it says, not that it is one
    """An object of a run's account of itself cannot be read; training does without it."""

    def __init__(self, line: str, url: str = "") -> None:
        """Say so in a line; the object is at `url`."""
        super().__init__(line)  # alone: an exception is made anew from this in another process
        self.url = url


def without_damaged(run_url: str, read: Callable[[], T], tell: Callable[[str], None]) -> T:
    """Return what `read` does once the records that it cannot read are set aside, each told of."""
    while True:
        try:
            return read()
        except DamagedRecord as error:
            name = error.url.removeprefix(run_url).strip("/")
            aside = set_aside(run_url, [name])
            tell(f"{error.url}: damaged; moved to {aside}")


def set_aside(run_url: str, names: Collection[str]) -> str:
    """Move objects of a run, by their names in it; return the folder where they lie now."""
    aside = storage.join(run_url, "damaged", f"{datetime.now(UTC):%Y%m%dT%H%M%S}")
    for name in names:
        storage.write(storage.join(aside, name), storage.read(storage.join(run_url, name)))
    for name in names:
        storage.delete(storage.join(run_url, name))
    return aside
