"""Benchmarks by name: which videos or images, and by which protocol they are scored."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from selfseg.errors import UsageError
from selfseg.evaluation.protocols import ANNOTATED_FRAMES, INNER_FRAMES, STILLS, Protocol
from selfseg.prediction.inputs import collection_sources
from selfseg.prediction.sources import AnnotatedSource, LocalSource
from selfseg.prediction.still_trees import StillTree, still_sources
from selfseg.prediction.video_trees import (
    davis_sources,
    fbms_sources,
    segtrack_sources,
    ski_sources,
    split_sources,
    ytvos_sources,
)

SPLITS: dict[str, dict[str, int | None]] = {
    "davis16": {"val": 20, "train": 30, "trainval": 50},
    "davis17": {"val": 30, "train": 60, "val-unsupervised": 30, "train-unsupervised": 60},
    "fbms59": {"test": 30, "train": 29},
    "segtrackv2": {"all": 14},
    "ytvos": {"train": 3471, "valid": None, "train_all_frames": 3471, "valid_all_frames": None},
    "ski-ptz": {"test": 12, "val": 12, "train": 48},
    "handheld190k": {"test": 1, "val": 1, "train": 3},
    "fs-singles": {"test": 3, "val": 2, "train": 18},
    "msra-b": {"all": 5000},
    "ecssd": {"all": 1000},
    "dut-omron": {"all": 5168},
    "duts": {"test": 5019, "train": 10553},
    "stills": {"all": None},
}
"""Every benchmark's splits with their number of videos or images, where it is known and fixed; the
split that scores are published for comes first. `stills` is for one's own annotated photographs."""

NAMED = 12
"""How many videos an error names; a benchmark of images has thousands."""

UNSUPERVISED = "-unsupervised"
"""Splits of DAVIS 2017 as its unsupervised track annotates them, which has more objects."""

STILL_TREES = {
    ("msra-b", "all"): StillTree("", ""),
    ("ecssd", "all"): StillTree("images", "ground_truth_mask"),
    ("dut-omron", "all"): StillTree("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ("duts", "test"): StillTree("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    ("duts", "train"): StillTree("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    ("stills", "all"): StillTree("images", "masks"),
}
"""Official trees of single images by benchmark and split."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is scored, and how.

    every: only every Nth of the frames that count, or of the images, is looked at
    """

    name: str
    sources: tuple[AnnotatedSource, ...]
    protocol: Protocol
    every: int = 1

    @property
    def still(self) -> bool:
        """Whether it consists of single images."""
        return self.protocol.unit == "image"


def find_benchmark(
    *,
    root: str | None = None,
    benchmark: str = "davis16",
    split: str | None = None,
    collection: str | None = None,
    every: int = 1,
) -> Benchmark:
    """Find the videos of a benchmark's tree at `root`, or of a `collection` with masks.

    Raises:
        UserError: no such tree, split list or collection, or no masks in it.
        UsageError: both or neither are given, or there is no such benchmark or split.
    """
    if every < 1:
        raise UsageError(f"--every {every}: must be 1, which is every frame, or more")
    if collection and not root:
        name = collection.rstrip("/").rpartition("/")[2]
        sources = collection_sources(collection, with_masks=True)
        protocol = STILLS if all(source.still for source in sources) else INNER_FRAMES
        return _thinned(Benchmark(name, tuple(sources), protocol), every)
    if root and not collection:
        return _thinned(_from_tree(Path(root), benchmark, split), every)
    raise UsageError("say what to score on: --benchmark davis16 --root DIR, or --collection URL")


def _from_tree(root: Path, benchmark: str, split: str | None) -> Benchmark:
    if benchmark not in SPLITS:
        raise UsageError(f"--benchmark {benchmark}: choose from {', '.join(SPLITS)}")
    chosen = split or next(iter(SPLITS[benchmark]))
    if chosen not in SPLITS[benchmark]:
        raise UsageError(
            f"--split {chosen}: {benchmark} has {', '.join(SPLITS[benchmark])}; choose from these"
        )
    sources, protocol = _sources(root, benchmark, chosen)
    name = benchmark if chosen == "all" else f"{benchmark} {chosen}"
    complete = SPLITS[benchmark][chosen]
    if complete not in (None, len(sources)):
        # Part of a benchmark is good for a quick look, but must never pass for all of it.
        name = f"{name}, {len(sources)} of {complete}"
    return Benchmark(name, tuple(sources), protocol)


def _sources(root: Path, benchmark: str, split: str) -> tuple[list[LocalSource], Protocol]:
    protocol = ANNOTATED_FRAMES
    match benchmark:
        case "davis16":
            sources, protocol = davis_sources(root, split), INNER_FRAMES
        case "davis17":
            annotations = "Annotations_unsupervised" if UNSUPERVISED in split else "Annotations"
            listed = split.removesuffix(UNSUPERVISED)
            sources = davis_sources(root, listed, year=2017, annotations=annotations)
            protocol = INNER_FRAMES
        case "fbms59":
            sources = fbms_sources(root, split)
        case "segtrackv2":
            sources = segtrack_sources(root)
        case "ytvos":
            sources = ytvos_sources(root, split)
        case "ski-ptz":
            sources = ski_sources(root, split)
        case "handheld190k" | "fs-singles":
            sources = split_sources(root, split, benchmark)
        case _:
            sources = still_sources(root, STILL_TREES[benchmark, split], benchmark)
            protocol = STILLS
    return sources, protocol


def _thinned(benchmark: Benchmark, every: int) -> Benchmark:
    """Ask each video for no more than the frames that are scored."""
    protocol, sources = benchmark.protocol, benchmark.sources
    if benchmark.still:
        sources = sources[::every]
    else:
        sources = tuple(counted(source, protocol, every) for source in sources)
    benchmark = replace(benchmark, sources=sources, every=every)
    if every == 1:
        return benchmark
    rules = f"one in {every}, which is not the official protocol, of: {protocol.rules}"
    return replace(
        benchmark,
        name=f"{benchmark.name}, every {every}",
        protocol=replace(protocol, rules=rules),
    )


def held_out(benchmark: Benchmark, names: Collection[str]) -> tuple[Benchmark, Benchmark]:
    """Take videos or images out of a benchmark, to choose on them what the others are scored by.

    Returns:
        What is scored, and what was taken out.

    Raises:
        UsageError: there is no video of one of the names, or none is left to score.
    """
    if not names:
        raise UsageError("--validation: name at least one video, e.g. --validation cow,dog")
    known = [source.name for source in benchmark.sources]
    if unknown := sorted(set(names) - set(known)):
        some = ", ".join(known[:NAMED]) + (", ..." if len(known) > NAMED else "")
        raise UsageError(f"--validation {unknown[0]}: not in {benchmark.name}, which has {some}")
    chosen = tuple(source for source in benchmark.sources if source.name in names)
    rest = tuple(source for source in benchmark.sources if source.name not in names)
    if not rest:
        raise UsageError(
            f"--validation {','.join(names)}: these are all of {benchmark.name}, and nothing is "
            "left to score; name fewer"
        )
    # Part of a benchmark must never pass for all of it.
    name = f"{benchmark.name} without {len(chosen)} for validation"
    return replace(benchmark, name=name, sources=rest), replace(benchmark, sources=chosen)


def counted(source: AnnotatedSource, protocol: Protocol, every: int) -> AnnotatedSource:
    """Ask a video for no more than every Nth of the frames that a protocol counts."""
    annotated = source.annotated()
    numbers = [n for n in protocol.counted_frames(source.num_frames) if n in annotated]
    return source.only(frozenset(numbers[::every]))
