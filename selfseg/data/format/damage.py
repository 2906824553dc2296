"""What is not as it was written: an object of a collection, and a shard that is read."""

from selfseg import storage
from selfseg.data.format.manifest import ShardEntry
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


def of_shard(shard: ShardEntry, url: str, error: UserError, *, what: str) -> UserError:
    """Return the error of a shard that is gone, cut off, changed, or a file that cannot be read.

    A place that is out of reach, now or for these keys, says nothing of the shard: its own error is
    returned.

    Args:
        shard: the one that is read.
        url: where the collection keeps it.
        error: that reading it ended in.
        what: was to be read of it.
    """
    changed = (storage.MissingObject, storage.CutOff, storage.Conflict)
    damaged = isinstance(error, (DamagedObject, *changed))
    in_a_file = isinstance(error, storage.StorageError) and not storage.is_remote(url)
    if not (damaged or in_a_file):
        return error
    message = str(error) if what in str(error) else f"{error} (it holds {what})"
    return DamagedShard.of(shard, message)
