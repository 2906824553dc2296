"""What is not as it was written: an object of a collection, and a shard that is read."""

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


def damaged_shard(error: UserError, shard: ShardEntry, url: str, what: str) -> UserError:
    """Tell what is wrong with a shard from a place that cannot be reached, or not now.

    Args:
        error: what reading it came to.
        shard: the one that is read.
        url: where its bytes are read.
        what: is read of it.

    Returns:
        A `DamagedShard` where it is gone, cut off, changed, or a file that cannot be read;
        otherwise a `StorageError` that says the same as `error`.
    """
    of_the_shard = (DamagedObject, storage.MissingObject, storage.Conflict)
    if isinstance(error, of_the_shard) or not storage.is_remote(url):
        return DamagedShard.of(shard, f"{error} (it holds {what})")
    return storage.StorageError(f"{error} (it holds {what})")
