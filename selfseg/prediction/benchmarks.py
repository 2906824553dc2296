"""Benchmarks by name: which videos or images, and by which protocol they are scored."""

from dataclasses import dataclass, replace
from pathlib import Path

from selfseg.errors import UsageError
from selfseg.evaluation.protocols import INNER_FRAMES, STILLS, Protocol
from selfseg.prediction.inputs import collection_sources
from selfseg.prediction.sources import AnnotatedSource
from selfseg.prediction.still_trees import StillTree, still_sources
from selfseg.prediction.video_trees import davis_sources

SPLITS: dict[str, tuple[str, ...]] = {
    "davis16": ("val", "train", "trainval"),
    "msra-b": ("all",),
    "ecssd": ("all",),
    "dut-omron": ("all",),
    "duts": ("test", "train"),
    "stills": ("all",),
}
"""Every benchmark with its splits, the one that scores are published for first."""

STILL_TREES = {
    ("msra-b", "all"): StillTree("", ""),
    ("ecssd", "all"): StillTree("images", "ground_truth_mask"),
    ("dut-omron", "all"): StillTree("DUT-OMRON-image", "pixelwiseGT-new-PNG"),
    ("duts", "test"): StillTree("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
    ("duts", "train"): StillTree("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
    ("stills", "all"): StillTree("images", "masks"),
}
"""Official trees by benchmark and split; `stills` is for one's own annotated photographs."""


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
        return _thinned(Benchmark(name, tuple(sources), INNER_FRAMES), every)
    if root and not collection:
        return _thinned(_from_tree(Path(root), benchmark, split), every)
    raise UsageError("say what to score on: --benchmark davis16 --root DIR, or --collection URL")


def _from_tree(root: Path, benchmark: str, split: str | None) -> Benchmark:
    if benchmark not in SPLITS:
        raise UsageError(f"--benchmark {benchmark}: choose from {', '.join(SPLITS)}")
    chosen = split or SPLITS[benchmark][0]
    if chosen not in SPLITS[benchmark]:
        raise UsageError(
            f"--split {chosen}: {benchmark} has {', '.join(SPLITS[benchmark])}; choose from these"
        )
    name = benchmark if chosen == "all" else f"{benchmark} {chosen}"
    if tree := STILL_TREES.get((benchmark, chosen)):
        return Benchmark(name, tuple(still_sources(root, tree, benchmark)), STILLS)
    match benchmark:
        case "davis16":
            return Benchmark(name, tuple(davis_sources(root, chosen)), INNER_FRAMES)
        case _:
            raise AssertionError(benchmark)


def _thinned(benchmark: Benchmark, every: int) -> Benchmark:
    """Ask each video for no more than the frames that are scored."""
    protocol, sources = benchmark.protocol, benchmark.sources
    if benchmark.still:
        sources = sources[::every]
    else:
        sources = tuple(counted(source, protocol, every) for source in sources)
    name = f"{benchmark.name}, every {every}" if every > 1 else benchmark.name
    return replace(benchmark, name=name, sources=sources, every=every)


def counted(source: AnnotatedSource, protocol: Protocol, every: int) -> AnnotatedSource:
    """Ask a video for no more than every Nth of the frames that a protocol counts."""
    annotated = source.annotated()
    numbers = [n for n in protocol.counted_frames(source.num_frames) if n in annotated]
    return source.only(frozenset(numbers[::every]))
