"""Which of a collection's videos a run reads: those on a list, or a share of them."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Bool

from selfseg.data.format.manifest import Manifest, VideoEntry
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.draws import words
from selfseg.errors import UsageError


def of_subset(
    collection: Collection,
    held: Bool[np.ndarray, " samples"],
    *,
    names: Sequence[str] | None,
    fraction: float,
    seed: int,
    at_least: int,
    asked: str = "data.fraction",
) -> Bool[np.ndarray, " samples"]:
    """Tell which of the samples `held` are frames of the chosen videos; see `chosen_videos`.

    `asked`: the setting that `fraction` is of.

    Raises:
        UsageError: there is no such video, or the subset has not `at_least` so many samples, a
            batch.
    """
    manifest = collection.manifest
    videos = chosen_videos(manifest, names, fraction=fraction, seed=seed)
    if len(videos) == len(manifest.videos):
        return held
    kept = held & collection.of_videos({video.id for video in videos})
    if (count := np.count_nonzero(kept)) < at_least:
        raise UsageError(
            f"data.videos and {asked}={fraction:g} leave {len(videos)} of the collection's "
            f"{len(manifest.videos)} videos and {count} samples, too few for data.batch_size "
            f"{at_least}; choose more videos or a smaller batch"
        )
    return kept


def chosen_videos(
    manifest: Manifest, names: Sequence[str] | None, *, fraction: float, seed: int
) -> list[VideoEntry]:
    """Return the first ceil(fraction * n) of the n videos that are named, in a drawn order.

    A video's place depends on `seed` and its id alone. So of two fractions the smaller chooses
    among what the larger does, and no two videos change places when the collection grows.

    Args:
        manifest: the collection.
        names: names or ids of videos; a name that several have stands for all. None: all videos.
        fraction: (0, 1].
        seed: of the order.

    Raises:
        UsageError: there is no such video.
    """
    named = _named(manifest, names)
    drawn = sorted(named, key=lambda video: (int(words(1, seed, video.id, "subset")[0]), video.id))
    # As it is written: 0.07 * 100 is more than 7 in binary.
    return drawn[: math.ceil(Fraction(str(fraction)) * len(drawn))]


def _named(manifest: Manifest, names: Sequence[str] | None) -> list[VideoEntry]:
    if names is None:
        return list(manifest.videos)
    known = sorted({video.name for video in manifest.videos})
    for name in names:
        if not any(name in {video.name, video.id} for video in manifest.videos):
            shown = ", ".join(known[:8]) + (", ..." if known[8:] else "")
            raise UsageError(
                f"data.videos: the collection has no video {name}; choose from {shown}"
            )
    return [video for video in manifest.videos if {video.name, video.id} & set(names)]
