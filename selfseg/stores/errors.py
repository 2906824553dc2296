"""What can go wrong with bytes outside the process; each message names URL, cause and remedy."""

from selfseg.errors import UserError


class StorageError(UserError):
    """A place could not be read or written."""


class MissingObject(StorageError):  # noqa: N818 - what it says, not that it is one
    """There is nothing under this URL."""


class CutOff(StorageError):  # noqa: N818 - as above
    """The object ends before what is asked of it."""


class Conflict(StorageError):  # noqa: N818 - as above
    """Somebody else changed the object in between."""


class Unreachable(StorageError):  # noqa: N818 - as above
    """The store is away: it may serve the same request later."""
