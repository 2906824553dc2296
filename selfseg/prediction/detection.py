"""From a source's frames to the objects in them, by a method that looks at one image at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from selfseg.contracts import Detections, Detector
from selfseg.data.reading.pairs import WHOLE_FRAME, on_grid, still_pair
from selfseg.errors import UsageError
from selfseg.evaluation.boxes import Box
from selfseg.prediction.segment import Masked, ModelSegmenter, Segmenter
from selfseg.prediction.sources import Preparation, Source, SourceFrame

Found = tuple[SourceFrame, Detections]


Looked = tuple[SourceFrame, Float32[np.ndarray, "rows columns"], Detections | None]


@dataclass(frozen=True, slots=True)
class DetectorSegmenter:
    """What finds objects one by one, in each frame by itself.

    grid: rows and columns that it looks at; None: the frame as large as it is at hand
    objects: at most so many are looked for in a frame
    """

    detector: Detector
    preparation: Preparation
    device: torch.device
    grid: tuple[int, int] | None
    objects: int = 1

    def check(self, sources: Iterable[Source]) -> None:
        """Take anything."""

    def masks(self, source: Source) -> Iterator[Masked]:
        """Yield each frame with the mask of all that was found in it."""
        for frame, found in self.found(source):
            yield frame, together(found.masks)

    def found(self, source: Source) -> Iterator[Found]:
        """Yield each frame with what was found in it, on the CPU."""
        for frame in source.frames(self.preparation):
            yield frame, self._detect(self._image(frame))

    def _image(self, frame: SourceFrame) -> Float[Tensor, "3 h w"]:
        if self.grid is None:
            seen = frame.original
        else:
            seen = on_grid(still_pair(frame.name, frame.image), *self.grid).image
        return torch.from_numpy(seen).permute(2, 0, 1).float().mul_(1 / 255)

    @torch.inference_mode()
    def _detect(self, image: Float[Tensor, "3 h w"]) -> Detections:
        found = self.detector.detect(image.to(self.device), objects=self.objects)
        return Detections(**{part.name: getattr(found, part.name).cpu() for part in fields(found)})


def object_segmenter(
    segmenter: ModelSegmenter, *, objects: int | None = None
) -> ModelSegmenter | DetectorSegmenter:
    """Let a method that finds objects one by one do so; any other segments as it does.

    Args:
        segmenter: a trained method.
        objects: how many to look for in a frame, at most; None: one, if it finds objects.

    Raises:
        UsageError: it cannot do what is asked for.
    """
    model = segmenter.model
    detector = model.method
    if not isinstance(detector, Detector):
        if objects is not None:
            raise UsageError(
                f"--objects {objects}: {model.url} finds no objects one by one; leave it out"
            )
        return segmenter
    if objects is not None and objects < 1:
        raise UsageError(f"--objects {objects}: must be 1 or more")
    if segmenter.crops != (WHOLE_FRAME,):
        raise UsageError(
            f"--augment: {model.url} looks for objects in whole frames alone; leave it out"
        )
    data = model.config.data
    grid = (data.height, data.width)
    return DetectorSegmenter(detector, segmenter.preparation, segmenter.device, grid, objects or 1)


def looked_at(segmenter: Segmenter, source: Source) -> Iterator[Looked]:
    """Yield each frame with its soft mask, and with what was found if objects are looked for."""
    if isinstance(segmenter, DetectorSegmenter):
        for frame, found in segmenter.found(source):
            yield frame, together(found.masks), found
    else:
        for frame, mask in segmenter.masks(source):
            yield frame, mask, None


def together(masks: Float[Tensor, "k h w"]) -> Float32[np.ndarray, "h w"]:
    """Return the soft mask of several objects: at each pixel the highest; of none, zero."""
    nothing = masks.new_zeros(1, *masks.shape[1:])
    return torch.cat([nothing, masks]).amax(0).float().numpy()


def in_pixels(box: Float[Tensor, "4"], height: int, width: int) -> Box:
    """Return a box in pixels of an image, where it may reach beyond it."""
    left, top, across, down = box.tolist()
    return left * width, top * height, across * width, down * height
