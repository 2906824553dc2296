"""Benchmarks of videos as they are downloaded: frames in one folder, masks of some in another."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from selfseg.data.ingest.videos import frame_paths
from selfseg.errors import UserError
from selfseg.prediction.sources import LocalSource
from selfseg.prediction.truth import Mask, Pixels, Truth, bright, by_stem, grey, labelled

RESOLUTION = "480p"
"""The resolution of DAVIS that scores are published for."""

DAVIS_VOID = 255
"""Label of pixels that DAVIS 2017's unsupervised annotation leaves out."""

FBMS_LEAST = {"marple2": 102, "marple7": 12}
"""Sequences of FBMS-59 whose background goes up to another grey level than FBMS_DARK. The levels
are those of CIS's reader (Yang et al., 2019), by which the field has scored since."""

FBMS_DARK = 25
"""Grey level up to which FBMS-59's .pgm files mean background: a tenth of white."""

SEGTRACK = (
    *("bird_of_paradise", "birdfall", "bmx", "cheetah", "drift", "frog", "girl", "hummingbird"),
    *("monkey", "monkeydog", "parachute", "penguin", "soldier", "worm"),
)


SKI_TRIALS = {
    "train": (103, 124, 202, 221, 115, 110, 214, 207),
    "val": (302, 309),
    "test": (412, 405),
}
"""Runs of Ski-PTZ by split, two of each skier; numbers of the authors' loader (Katircioglu et al.,
2021), splits of four, one and one skiers as in their papers."""

SKI_CAMERAS = 6

SKI_DARK = 200
"""Grey level up to which Ski-PTZ's masks, which are JPEGs, mean background, as in that loader."""


def davis_sources(
    root: Path, split: str, *, year: int = 2016, annotations: str = "Annotations"
) -> list[LocalSource]:
    """List the sequences of one split of a DAVIS tree, frames and masks at 480p.

    Raises:
        UserError: the tree or the split list is not where it should be.
    """
    frames, masks = (root / part / RESOLUTION for part in ("JPEGImages", annotations))
    expected = f"JPEGImages/{RESOLUTION} and {annotations}/{RESOLUTION}"
    _expect(root, "DAVIS", (frames, masks), expected)
    names = _davis_split(root, split, year)
    void = DAVIS_VOID if annotations == "Annotations_unsupervised" else None
    return [_sequence(root, frames / name, _images(masks / name), void=void) for name in names]


def fbms_sources(root: Path, split: str) -> list[LocalSource]:
    """List the sequences of FBMS-59's training or test set; a few frames of each are annotated.

    Raises:
        UserError: the tree is not FBMS-59's, or a mask belongs to no frame.
    """
    part = root / {"test": "Testset", "train": "Trainingset"}[split]
    expected = f"{part.name}/SEQUENCE/*.jpg and {part.name}/SEQUENCE/GroundTruth/*.pgm or *.ppm"
    _expect(root, "FBMS-59", (part,), expected)
    found = [folder for folder in sorted(part.iterdir()) if (folder / "GroundTruth").is_dir()]
    if not found:
        raise UserError(f"{root}: not an FBMS-59 tree: expected {expected}")
    return [_fbms_sequence(root, folder) for folder in found]


def segtrack_sources(root: Path) -> list[LocalSource]:
    """List the 14 sequences of SegTrackV2; where there are several objects, each has a folder.

    Raises:
        UserError: the tree is not SegTrackV2's, or a frame lacks its mask.
    """
    frames, masks = root / "JPEGImages", root / "GroundTruth"
    expected = (
        "JPEGImages/SEQUENCE/* and GroundTruth/SEQUENCE/*, or SEQUENCE/1/*, SEQUENCE/2/*, ..."
    )
    _expect(root, "SegTrackV2", (frames, masks), expected)
    sources = []
    for name in SEGTRACK:
        objects = sorted(path for path in (masks / name).glob("*") if path.is_dir())
        files = [path for folder in objects or [masks / name] for path in _images(folder)]
        source = _sequence(root, frames / name, files)
        if len(source.annotated()) < source.num_frames:
            raise UserError(f"{root}: GroundTruth/{name} lacks masks of frames; unpack it again")
        sources.append(source)
    return sources


def ytvos_sources(root: Path, split: str) -> list[LocalSource]:
    """List the videos of Youtube-VOS: every fifth frame, or with "_all_frames" all that it has.

    Masks are those that are public: of the training videos every fifth frame; of the validation
    videos the frames in which an object is first seen.

    Raises:
        UserError: the tree is not Youtube-VOS's.
    """
    frames = root / split / "JPEGImages"
    masks = root / split.removesuffix("_all_frames") / "Annotations"
    _expect(
        root,
        "Youtube-VOS",
        (frames, masks),
        f"{split}/JPEGImages/VIDEO/*.jpg and {masks.relative_to(root)}/VIDEO/*.png",
    )
    names = sorted(folder.name for folder in masks.iterdir() if folder.is_dir())
    return [_sequence(root, frames / name, _images(masks / name)) for name in names]


def ski_sources(root: Path, split: str) -> list[LocalSource]:
    """List the sequences of one split of Ski-PTZ: six cameras film each run of a skier.

    A few frames of each are annotated, none of the training videos. The tree is that of the
    authors' published loader; the data is given out on request and was not at hand to try it, nor
    to see whether it holds more masks than the 16 of each sequence that the paper scores.

    Raises:
        UserError: the tree is not Ski-PTZ's, or holds no mask of the split.
    """
    frames, masks = root / "Videos", root / "Segmentation_masks"
    expected = "Videos/trial_412_cam1/frame_000001.jpg ... and Segmentation_masks/ likewise"
    _expect(root, "Ski-PTZ", (frames, masks), expected)
    names = (f"trial_{t}_cam{c + 1}" for t in SKI_TRIALS[split] for c in range(SKI_CAMERAS))
    foreground = partial(_brighter, least=SKI_DARK)
    return _masked(root, "Ski-PTZ", split, [(frames / n, masks / n) for n in names], foreground)


def split_sources(root: Path, split: str, name: str) -> list[LocalSource]:
    """List the sequences of one split of Handheld190k or FS-Singles that have masks.

    How their authors lay them out is not public, so this is a plain layout to bring them into,
    and the real sets were never read: ROOT/SPLIT/images/SEQUENCE/FRAME.jpg (or .png), and
    ROOT/SPLIT/masks/SEQUENCE/FRAME.png, bright where the person is, of only some frames.

    Raises:
        UserError: the tree is another, or holds no mask of the split.
    """
    frames, masks = root / split / "images", root / split / "masks"
    expected = f"{split}/images/SEQUENCE/FRAME.jpg and {split}/masks/SEQUENCE/FRAME.png"
    _expect(root, name, (frames, masks), expected)
    names = sorted(folder.name for folder in frames.iterdir() if folder.is_dir())
    return _masked(root, name, split, [(frames / n, masks / n) for n in names], bright)


def _masked(
    root: Path,
    name: str,
    split: str,
    folders: Iterable[tuple[Path, Path]],
    foreground: Callable[[Pixels], Mask],
) -> list[LocalSource]:
    """List those folders of frames that have a folder with masks of some of them.

    Raises:
        UserError: none has, or a mask belongs to no frame.
    """
    sources = []
    for frames, masks in folders:
        paths, files = _images(frames), _images(masks)
        stems = {path.stem for path in paths}
        if lost := [path for path in files if path.stem not in stems]:
            raise UserError(f"{lost[0]}: belongs to no frame in {frames}; unpack {name} again")
        if files:
            truth = Truth(by_stem(paths, files), foreground)
            sources.append(LocalSource(frames, frames.name, len(paths), truth=truth))
    if not sources:
        raise UserError(f"{root}: {name} has no masks of split {split}; choose another --split")
    return sources


def _sequence(
    root: Path, frames: Path, masks: Iterable[Path], *, void: int | None = None
) -> LocalSource:
    """Take a folder of frames for a source; nothing is decoded, for there may be thousands."""
    paths = _images(frames)
    files = by_stem(paths, masks)
    if not files:
        raise UserError(
            f"{root}: sequence {frames.name} lacks its frames or masks; unpack it again"
        )
    truth = Truth(files, labelled, void)
    return LocalSource(frames, frames.name, len(paths), truth=truth)


def _davis_split(root: Path, split: str, year: int) -> list[str]:
    """Read a split list: DAVIS 2016's of frames and masks, or DAVIS 2017's of names."""
    parts = {2016: (RESOLUTION, "2016"), 2017: ("2017",)}[year]
    lists = [root / "ImageSets" / part / f"{split}.txt" for part in parts]
    found = next((path for path in lists if path.is_file()), None)
    if found is None:
        raise UserError(
            f"{root}: no list of split {split} at {lists[0].relative_to(root)}; unpack DAVIS again"
        )
    first_words = [line.split()[0] for line in found.read_text().splitlines() if line.strip()]
    names = [PurePosixPath(word).parent.name or word for word in first_words]
    return list(dict.fromkeys(names))


def _fbms_sequence(root: Path, folder: Path) -> LocalSource:
    """Match masks to frames: by stem, or where names differ by the last number in them."""
    masks = sorted((folder / "GroundTruth").glob("*.ppm"))
    if masks:
        # Beside each mask of colours lies a map of probabilities.
        masks = [path for path in masks if "PROB" not in path.name]
        foreground = _coloured
    else:
        masks = sorted((folder / "GroundTruth").glob("*.pgm"))
        foreground = partial(_brighter, least=FBMS_LEAST.get(folder.name, FBMS_DARK))
    paths = frame_paths(folder)
    numbers = {path.stem: number for number, path in enumerate(paths)}
    numbers |= {_last_number(path.stem): number for number, path in enumerate(paths)}
    files: dict[int, tuple[Path, ...]] = {}
    for path in masks:
        stem = path.stem.removesuffix("_gt")
        number = numbers.get(stem, numbers.get(_last_number(stem)))
        if number is None:
            raise UserError(f"{path}: belongs to no frame in {folder}; unpack FBMS-59 again")
        files[number] = (path,)
    if not files:
        raise UserError(f"{root}: sequence {folder.name} lacks its masks; unpack FBMS-59 again")
    return LocalSource(folder, folder.name, len(paths), truth=Truth(files, foreground))


def _last_number(stem: str) -> str:
    found = re.findall(r"\d+", stem)
    return f"number {int(found[-1])}" if found else ""


def _brighter(pixels: Pixels, *, least: int) -> Mask:
    return grey(pixels) > least


def _coloured(pixels: Pixels) -> Mask:
    """Take what is neither white, which is the background, nor nearly black, which is nothing."""
    white = (pixels == 255) if pixels.ndim == 2 else (pixels == 255).all(-1)
    return ~white & (grey(pixels) > FBMS_DARK)


def _images(folder: Path) -> tuple[Path, ...]:
    return frame_paths(folder) if folder.is_dir() else ()


def _expect(root: Path, name: str, folders: Iterable[Path], expected: str) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{root}: not a {name} tree: {folder.relative_to(root)} is missing; --root takes "
                f"the folder that holds {expected}"
            )
