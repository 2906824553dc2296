"""What is not as it was written: an object of a collection, and a shard that is read."""

from collections.abc import Iterator
from contextlib import contextmanager

from selfseg import storage
from selfseg.data.manifest import ShardEntry
from selfseg.errors import UserError


class DamagedObject(UserError):  # noqa: N818 - what it says, not that it is one
    """An object has another content than its manifest says."""


class DamagedShard(UserError):  # noqa: N818 - as above
    """A shard cannot be read, or is not what was written."""

    shard: ShardEntry

    @classmethod
    def of(cls, shard: ShardEntry, message: str) -> "DamagedShard":
        """Return the error of this shard."""
        # An argument of the initialiser more, and the error could not go from process to process.
        error = cls(message)
        error.shard = shard
        return error


@contextmanager
def reading(shard: ShardEntry, url: str, *, what: str) -> Iterator[None]:
    """Tell what is wrong with a shard from a place that cannot be reached, or not now.

    Args:
        shard: the one that is read.
        url: where the collection keeps it.
        what: is read of it.

    Raises:
        DamagedShard: it is gone, cut off, changed, or a file that cannot be read.
    """
    try:
        yield
    except (DamagedObject, storage.MissingObject, storage.Conflict) as error:
        raise DamagedShard.of(shard, f"{error} (it holds {what})") from error
    except storage.StorageError as error:
        if storage.is_remote(url):
            raise
        raise DamagedShard.of(shard, f"{error} (it holds {what})") from error
