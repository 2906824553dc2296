"""From a source's frames to the soft masks of baselines: classical ones, and a supervised one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.pairs import Pair, on_grid
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.baselines import (
    BASELINES,
    Baseline,
    FlowBaseline,
    StillBaseline,
    SubtractionBaseline,
    moving_against_otsu,
    subtract_background,
)
from selfseg.methods.mask_rcnn import MaskRCNN
from selfseg.ops.masks import foreground_side
from selfseg.prediction.detection import DetectorSegmenter
from selfseg.prediction.segment import Masked, Segmenter, moving_pairs, refuse_stills
from selfseg.prediction.sources import HOMOGRAPHY_GAP, Preparation, Source, SourceFrame

SUPERVISED = "mask-rcnn"
"""The one baseline that learned from labels: it finds the object that it is surest of."""

BASELINE_GRID = (128, 224)
"""Grid that flow baselines are computed on, about that of the stored flow."""

FLOW_GAPS = (1,)
"""Frames between the ends of the motions that flow baselines look at; longer ones score lower."""

STILL = IngestSettings(flow="none")
"""How frames are prepared for what looks at each by itself."""

FOR_STILLS = "this baseline needs it; for stills there are " + ", ".join(
    name for name, baseline in BASELINES.items() if isinstance(baseline, StillBaseline)
)
"""What a baseline that looks at motion says of single images."""


@dataclass(frozen=True, slots=True)
class FlowSegmenter:
    """Flow without the camera's share, and Otsu's threshold."""

    baseline: FlowBaseline
    preparation: Preparation

    def check(self, sources: Iterable[Source]) -> None:
        """Refuse single images."""
        refuse_stills(sources, FOR_STILLS)

    def masks(self, source: Source) -> Iterator[Masked]:
        """Segment frame after frame."""
        for frame in source.frames(self.preparation):
            pairs = moving_pairs(source, frame, self.preparation)
            residuals = np.stack([self._residual(pair) for pair in pairs])
            yield frame, _foreground(moving_against_otsu(residuals))

    def _residual(self, pair: Pair) -> Float32[np.ndarray, "h w 2"]:
        placed = on_grid(pair, *BASELINE_GRID)
        if self.baseline.camera == "median":
            return placed.flow - np.median(placed.flow, axis=(0, 1))
        return placed.flow - placed.camera


@dataclass(frozen=True, slots=True)
class SubtractionSegmenter:
    """Background subtraction; it looks at a whole sequence before it says anything."""

    baseline: SubtractionBaseline
    preparation: Preparation

    def check(self, sources: Iterable[Source]) -> None:
        """Refuse single images."""
        refuse_stills(sources, FOR_STILLS)

    def masks(self, source: Source) -> Iterator[Masked]:
        """Hold the sequence at its prepared size, 0.3 MB a frame, and segment it."""
        # Pairs and original frames are let go at once; nothing here looks at them.
        frames = [
            replace(frame, pairs=(), original=frame.image)
            for frame in source.frames(self.preparation)
        ]
        homographies = [_to_next(source, frame) for frame in frames[:-1]]
        images = [frame.image for frame in frames]
        masks = subtract_background(self.baseline, images, homographies)
        yield from zip(frames, map(_foreground, masks), strict=True)


@dataclass(frozen=True, slots=True)
class StillSegmenter:
    """What looks at each frame for itself."""

    segment: Callable[[UInt8[np.ndarray, "h w 3"]], Float32[np.ndarray, "h w"]]
    preparation: Preparation

    def check(self, sources: Iterable[Source]) -> None:
        """Take anything."""

    def masks(self, source: Source) -> Iterator[Masked]:
        """Segment frame after frame."""
        for frame in source.frames(self.preparation):
            yield frame, self.segment(frame.image)


def baseline_segmenter(name: str, *, gaps: tuple[int, ...] | None) -> Segmenter:
    """Prepare a classical baseline; gaps: None for its own choice.

    Raises:
        UsageError: there is no such baseline.
    """
    if name not in BASELINES:
        known = ", ".join([*BASELINES, SUPERVISED])
        raise UsageError(f"--baseline {name}: choose from {known}")
    return _segmenter(BASELINES[name], gaps)


def supervised_segmenter(weights: str, device: torch.device) -> DetectorSegmenter:
    """Prepare the supervised baseline, which sees frames as large as they are at hand.

    Args:
        weights: see `MaskRCNN`.
        device: where it computes.

    Raises:
        UserError: no such weights, or those of another network.
    """
    preparation = Preparation(STILL, (HOMOGRAPHY_GAP,), "none")
    return DetectorSegmenter(MaskRCNN(weights, device), preparation, device, grid=None)


def _segmenter(baseline: Baseline, gaps: tuple[int, ...] | None) -> Segmenter:
    ingest = IngestSettings()
    match baseline:
        case FlowBaseline():
            camera = "none" if baseline.camera == "median" else baseline.camera
            return FlowSegmenter(baseline, Preparation(ingest, gaps or FLOW_GAPS, camera))
        case SubtractionBaseline():
            preparation = Preparation(ingest, (HOMOGRAPHY_GAP,), "none", whole=True)
            return SubtractionSegmenter(baseline, preparation)
        case StillBaseline():
            preparation = Preparation(STILL, (HOMOGRAPHY_GAP,), "none")
            return StillSegmenter(baseline.segment, preparation)


def _foreground(mask: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    return foreground_side(torch.from_numpy(mask)).numpy()


def _to_next(source: Source, frame: SourceFrame) -> Float[np.ndarray, "3 3"]:
    """Return the homography to the next frame in pixels of the prepared image."""
    if frame.to_next is None:
        raise UserError(
            f"{source.name}: frame {frame.name} has no motion to the next; ingest again"
        )
    matrix, (rows, columns) = frame.to_next
    height, width = frame.image.shape[:2]
    scale = np.diag([width / columns, height / rows, 1.0])
    return scale @ matrix @ np.linalg.inv(scale)
