"""From a source's frames to soft masks: by a trained method or by a classical baseline."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from selfseg.contracts import FramePairs, View
from selfseg.data.ingest.motion import resize as resize_image
from selfseg.data.reading.pairs import WHOLE_FRAME, Crop, Pair, still_pair
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.thresholds import FIXED, with_even_odds
from selfseg.experiment import Model
from selfseg.ops.crf import ImageCrf
from selfseg.ops.masks import resize
from selfseg.prediction.crops import AUGMENTED, averaged
from selfseg.prediction.sources import Preparation, Source, SourceFrame
from selfseg.training.loop import to_device

CRF_HEIGHT = 240
"""Rows of the image that the CRF sees; its reaches are meant for this."""

Masked = tuple[SourceFrame, Float32[np.ndarray, "rows columns"]]


class Segmenter(Protocol):
    """What a model and the baselines have in common."""

    def check(self, sources: Iterable[Source]) -> None:
        """Look for single images among the sources before any work is done.

        Raises:
            UserError: it segments by motion, and one of them shows none.
        """
        ...

    def masks(self, source: Source) -> Iterator[Masked]:
        """Yield each frame with its foreground probability, [0, 1], on a grid of its own."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSegmenter:
    """A trained method.

    view: what it looks at; None: what its method calls best, and a still's image
    crops: the parts of a frame that are segmented, to be averaged where they overlap
    """

    model: Model
    preparation: Preparation
    device: torch.device
    view: View | None = None
    crops: tuple[Crop, ...] = (WHOLE_FRAME,)

    def check(self, sources: Iterable[Source]) -> None:
        """Let single images pass only where they are segmented by the static view."""
        moving = (source for source in sources if self.view_of(source) != "static")
        refuse_stills(
            moving,
            f"{self.model.url} segments by motion; give a video or a folder of its frames",
        )

    def masks(self, source: Source) -> Iterator[Masked]:
        """Segment frame after frame.

        Raises:
            UserError: it segments by motion, and nothing moves here.
        """
        view = self.view_of(source)
        for frame in source.frames(self.preparation):
            pairs = (
                (still_pair(frame.name, frame.image),)
                if view == "static"
                else moving_pairs(source, frame, self.preparation)
            )
            yield frame, averaged(pairs, self.crops, self._grid, partial(self._segment, view))

    def view_of(self, source: Source) -> View:
        """Return the view that a source is segmented by."""
        views = self.model.method.views
        return self.view or ("static" if source.still and "static" in views else views[0])

    @property
    def _grid(self) -> tuple[int, int]:
        return self.model.config.data.height, self.model.config.data.width

    @torch.inference_mode()
    def _segment(self, view: View, frame: FramePairs) -> Float[Tensor, "h w"]:
        return self.model.method.segment(to_device(frame, self.device), view).float().cpu()


def compute_device(name: str | None = None) -> torch.device:
    """Return the device that a model computes on; None: a GPU if there is one.

    Raises:
        UsageError: there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"--device {name}: no such device here; try --device cpu") from None
    return device


def model_segmenter(
    model: Model,
    *,
    gaps: tuple[int, ...] | None,
    device: torch.device,
    view: View | None = None,
    augment: bool = False,
) -> ModelSegmenter:
    """Prepare a model.

    Args:
        model: a trained method.
        gaps: frames between a pair's ends, None for those it was trained on.
        device: where it computes.
        view: what it looks at; None for what its method calls best.
        augment: average over crops and mirror images of each frame.

    Raises:
        UsageError: a gap its flow was never prepared for, or a view it does not have.
        UserError: it is no method that segments.
    """
    views = model.method.views
    if not views:
        raise UserError(
            f"{model.url}: {model.config.method.name} outlines nothing by itself: train what "
            "begins with it, e.g. the recipe proposal with --set start.image_inpainter=RUN"
        )
    if view is not None and view not in views:
        raise UsageError(f"--view {view}: {model.url} has {', '.join(views)}")
    data = model.config.data
    chosen = gaps or tuple(data.gaps)
    still = (views if view is None else (view,)) == ("static",)
    if not still and (unknown := sorted(set(chosen) - set(model.ingest.gaps))):
        raise UsageError(
            f"--gaps {','.join(map(str, unknown))}: {model.url} knows motion over "
            f"{','.join(map(str, model.ingest.gaps))} frames; choose from these"
        )
    ingest = model.ingest.override({"flow": "none"}) if still else model.ingest
    preparation = Preparation(ingest, chosen, data.camera)
    return ModelSegmenter(
        model, preparation, device, view, AUGMENTED if augment else (WHOLE_FRAME,)
    )


class Refiner:
    """The dense CRF of an image at CRF_HEIGHT rows, built once for any number of masks.

    Args:
        image: RGB.
    """

    def __init__(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        width = max(1, round(CRF_HEIGHT * image.shape[1] / image.shape[0]))
        self._size = (CRF_HEIGHT, width)
        self._crf = ImageCrf(resize_image(image, self._size))

    def refined(
        self, mask: Float[np.ndarray, "rows columns"], threshold: float = FIXED
    ) -> Float32[np.ndarray, "height width"]:
        """Refine a soft mask.

        Args:
            mask: [0, 1], of any size.
            threshold: where in the mask a pixel is as likely foreground as not.

        Returns:
            Probability of foreground.
        """
        soft = resize(torch.from_numpy(mask), *self._size).numpy()
        return self._crf.refine(with_even_odds(soft, threshold))


def refuse_stills(sources: Iterable[Source], reason: str) -> None:
    """Raise UserError if a source is a single image; `reason` completes the sentence."""
    still = next((source.name for source in sources if source.still), None)
    if still:
        raise UserError(f"{still}: a single image shows no motion, and {reason}")


def moving_pairs(source: Source, frame: SourceFrame, preparation: Preparation) -> tuple[Pair, ...]:
    """Return a frame's motions; raise UserError if there are none."""
    if not frame.pairs:
        gaps = ", ".join(map(str, preparation.gaps))
        raise UserError(
            f"{source.name}: frame {frame.name} has no neighbour {gaps} frames away, so nothing "
            "moves; segmenting by motion needs a longer video, or smaller --gaps"
        )
    return frame.pairs
