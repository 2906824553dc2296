"""Benchmarks of single images as they are downloaded: pictures in one folder, masks in another."""

from dataclasses import dataclass
from pathlib import Path

from selfseg.data.ingest.videos import frame_paths
from selfseg.errors import UserError
from selfseg.prediction.sources import LocalSource
from selfseg.prediction.truth import Truth, bright

JPEG = {".jpeg", ".jpg"}


@dataclass(frozen=True, slots=True)
class StillTree:
    """Where a benchmark keeps its images and masks; an image and its mask have the same stem.

    images, masks: folders below the root; both empty: pairs of .jpg and .png in the root itself
    """

    images: str
    masks: str

    @property
    def expected(self) -> str:
        """What belongs where, in words."""
        if not self.images:
            return "NAME.jpg and NAME.png side by side"
        return f"{self.images}/NAME.jpg and {self.masks}/NAME.png"


def still_sources(root: Path, tree: StillTree, name: str) -> list[LocalSource]:
    """List a benchmark's images with their masks.

    Raises:
        UserError: the tree is not the benchmark's, or an image lacks its mask.
    """
    images, masks = root / tree.images, root / tree.masks
    if not (images.is_dir() and masks.is_dir()):
        missing = images if not images.is_dir() else masks
        raise UserError(
            f"{root}: not a {name} tree: {missing} is missing; --root takes the folder that holds "
            f"{tree.expected}"
        )
    side_by_side = images == masks
    found = [p for p in frame_paths(images) if not side_by_side or p.suffix.lower() in JPEG]
    if not found:
        raise UserError(f"{root}: not a {name} tree: expected {tree.expected}")
    paths = [p for p in frame_paths(masks) if not side_by_side or p.suffix.lower() not in JPEG]
    mask_of = {path.stem: path for path in paths}
    for path in found:
        if path.stem not in mask_of:
            expected = masks / f"{path.stem}.png"
            raise UserError(f"{path}: its mask {expected} is missing; unpack {name} again")
    return [
        LocalSource(path, path.stem, 1, still=True, truth=Truth({0: (mask_of[path.stem],)}, bright))
        for path in found
    ]
