"""One sample of a collection, found by what a person calls it."""

from difflib import get_close_matches

from selfseg.data.format.manifest import VideoEntry
from selfseg.data.format.schema import sample_key
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError

NEAR = 3
"""Names offered in place of an unknown one."""


def find_sample(collection: Collection, wanted: str) -> int:
    """Return the ordinal of the sample of this key, or of VIDEO/FRAME, e.g. "bear/7".

    A video is called by its name or by its id.

    Raises:
        UsageError: there is none; names those that are near.
    """
    name, _, frame = wanted.rpartition("/")
    if not name:
        name, _, frame = wanted.rpartition("_")
    videos = [v for v in collection.manifest.videos if wanted in {v.name, v.id}]
    if videos or not (name and frame.isdecimal()):
        example = f"{videos[0].name}/0" if videos else f"{collection.manifest.videos[0].name}/0"
        raise UsageError(f"{collection.url}: {wanted} says no frame; give it as in {example}")
    video = _video(collection, name)
    if int(frame) >= video.frames:
        raise UsageError(
            f"{collection.url}: {video.name} has frames 0 to {video.frames - 1}, not {frame}; "
            "choose one of these"
        )
    return collection.ordinal(sample_key(video.id, int(frame)))


def _video(collection: Collection, name: str) -> VideoEntry:
    """Return the only video of this name or id."""
    videos = collection.manifest.videos
    found = [video for video in videos if name in {video.name, video.id}]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"{video.id}/0" for video in found)
        raise UsageError(f"{collection.url}: several videos are called {name}; give one as {ids}")
    near = get_close_matches(name, [n for v in videos for n in (v.name, v.id)], NEAR, cutoff=0.5)
    hint = f"near it: {', '.join(near)}" if near else f"it begins with {videos[0].name}"
    raise UsageError(
        f"{collection.url}: holds no video {name}; {hint}; "
        f"tools/collection.py list {collection.url} names all"
    )
