"""Objects in this machine's cache."""

from pathlib import Path

from selfseg.data.reading.cache import lease


def fetch(url: str, sha256: str, size: int | None = None) -> Path:
    """Return where the local copy of an object is; it may be evicted as soon as this returns."""
    with lease(url, sha256, size) as file:
        return Path(file.name)
