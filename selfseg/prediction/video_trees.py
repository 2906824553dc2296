"""Benchmarks of videos as they are downloaded: frames in one folder, masks of some in another."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from selfseg.errors import UserError
from selfseg.prediction.sources import LocalSource, local_source
from selfseg.prediction.truth import numbered_truth

RESOLUTION = "480p"
"""The resolution of DAVIS that scores are published for."""


def davis_sources(root: Path, split: str, *, year: int = 2016) -> list[LocalSource]:
    """List the sequences of one split of a DAVIS tree, frames and masks at 480p.

    Raises:
        UserError: the tree or the split list is not where it should be.
    """
    frames, masks = (root / part / RESOLUTION for part in ("JPEGImages", "Annotations"))
    _expect(root, "DAVIS", (frames, masks), f"JPEGImages/{RESOLUTION} and Annotations/{RESOLUTION}")
    names = _davis_split(root, split, year)
    for name in names:
        if not (frames / name).is_dir() or not (masks / name).is_dir():
            raise UserError(
                f"{root}: sequence {name} of split {split} lacks its frames or masks; "
                "unpack DAVIS again"
            )
    sources = [local_source(frames / name, name) for name in names]
    return [
        local_source(each.path, each.name, truth=numbered_truth(masks / each.name, each.num_frames))
        for each in sources
    ]


def _davis_split(root: Path, split: str, year: int) -> list[str]:
    """Read a split list: DAVIS 2016's of frames and masks, or DAVIS 2017's of names."""
    folders = [root / "ImageSets" / part for part in ("480p", "2016", "2017")]
    folders = folders[2:] if year == 2017 else folders[:2]
    lists = [folder / f"{split}.txt" for folder in folders]
    found = next((path for path in lists if path.is_file()), None)
    if found is None:
        known = sorted({path.stem for folder in folders for path in folder.glob("*.txt")})
        raise UserError(
            f"{root}: no list of split {split} at {lists[0].relative_to(root)}; "
            f"--split takes one of: {', '.join(known) or 'none, there is no list'}"
        )
    first_words = [line.split()[0] for line in found.read_text().splitlines() if line.strip()]
    names = [PurePosixPath(word).parent.name or word for word in first_words]
    return list(dict.fromkeys(names))


def _expect(root: Path, name: str, folders: Iterable[Path], expected: str) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{root}: not a {name} tree: {folder.relative_to(root)} is missing; --root takes "
                f"the folder that holds {expected}"
            )
