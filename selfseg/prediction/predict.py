"""Apply a trained model to whatever a person points at."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain, count

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.text import Text

from selfseg import storage
from selfseg.contracts import View
from selfseg.errors import UsageError
from selfseg.evaluation.thresholds import FIXED, with_even_odds
from selfseg.experiment import Model
from selfseg.prediction.detection import (
    DetectorSegmenter,
    Looked,
    looked_at,
    object_segmenter,
)
from selfseg.prediction.film import VIDEO, overlay_video
from selfseg.prediction.inputs import find_sources
from selfseg.prediction.output import (
    Written,
    claim,
    write_detections,
    write_frame,
    write_lines,
)
from selfseg.prediction.progress import bar
from selfseg.prediction.segment import Refiner, Segmenter, model_segmenter
from selfseg.prediction.sources import Source


@dataclass(frozen=True, slots=True)
class Summary:
    """What a prediction wrote.

    videos: URLs of the overlay videos
    """

    output: str
    sources: int
    frames: int
    seconds: float
    videos: tuple[str, ...]


def predict(
    model: Model,
    inputs: Sequence[str],
    output: str,
    *,
    gaps: tuple[int, ...] | None = None,
    view: View | None = None,
    augment: bool = False,
    crf: bool = False,
    threshold: float = FIXED,
    objects: int | None = None,
    device: torch.device,
    console: Console | None = None,
) -> Summary:
    """Segment images, videos, folders of frames, collections; local or in a bucket.

    Writes OUTPUT/predictions.jsonl and, for each source, masks/, overlays/ and overlay.webm; of a
    method that finds objects one by one OUTPUT/detections.json as well.

    Args:
        model: a trained method and how its data was prepared.
        inputs: paths and s3:// URLs.
        output: folder or s3:// URL; empty, new, or of earlier predictions, which are replaced.
        gaps: frames between the ends of a motion; None for those the model was trained on.
        view: what the model looks at; None for what its method calls best, and a still's image.
        augment: average over crops and mirror images of each frame.
        crf: refine masks by the dense CRF.
        threshold: above which value of its masks the model means foreground, between 0 and 1.
        objects: how many to find in a frame, at most; None: one, if the method finds objects.
        device: where the model computes.
        console: where progress is shown; None for stderr.

    Raises:
        UserError: an input or the output cannot be used.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"--threshold {threshold}: give a value between 0 and 1, such as {FIXED}")
    if not inputs:
        raise UsageError("nothing to segment: give images, videos, folders or s3:// URLs")
    segmenter = object_segmenter(
        model_segmenter(model, gaps=gaps, device=device, view=view, augment=augment),
        objects=objects,
    )
    sources = [source for argument in inputs for source in find_sources(argument)]
    segmenter.check(sources)
    claim(output)
    started = time.monotonic()
    masks = partial(_masks, crf=crf, threshold=threshold)
    written: list[Written] = []
    folders = _folders(sources)
    with bar(console, _Rate()) as progress:
        for folder, source in zip(folders, sources, strict=True):
            task = progress.add_task(folder, total=source.num_frames)
            for each in _predicted(segmenter, source, output, folder, masks):
                written.append(each)
                progress.advance(task)
            # Once for each source: in a bucket, nothing can be appended to.
            write_lines(output, [each.line for each in written])
            if isinstance(segmenter, DetectorSegmenter):
                write_detections(output, [each.objects for each in written])
    videos = tuple(
        storage.join(output, folder, VIDEO)
        for folder, source in zip(folders, sources, strict=True)
        if not source.still
    )
    return Summary(output, len(sources), len(written), time.monotonic() - started, videos)


def _predicted(
    segmenter: Segmenter,
    source: Source,
    output: str,
    folder: str,
    masks: Callable[[Looked], list[Float[np.ndarray, "rows columns"]]],
) -> Iterator[Written]:
    """Segment one source, write all that shows it, and yield what was written of each frame."""
    url = storage.join(output, folder, VIDEO)
    with nullcontext() if source.still else overlay_video(url) as video:
        for look in looked_at(segmenter, source):
            frame, _, found = look
            written, shown = write_frame(output, folder, frame, masks(look), found)
            if video:
                video.add(shown, frame.time_s)
            yield written


def _masks(look: Looked, *, crf: bool, threshold: float) -> list[Float[np.ndarray, "rows columns"]]:
    """Return the soft mask of a frame, or of each object in it: foreground above 0.5."""
    frame, mask, found = look
    masks = [mask] if found is None else list(found.masks.float().numpy())
    if crf:
        refiner = Refiner(frame.image)
        return [refiner.refined(each, threshold) for each in masks]
    return [with_even_odds(each, threshold) for each in masks]


def _folders(sources: Sequence[Source]) -> list[str]:
    """Name a folder for each source; a name that comes again gets a number."""
    folders: list[str] = []
    for source in sources:
        candidates = chain([source.name], (f"{source.name}-{number}" for number in count(2)))
        folders.append(next(name for name in candidates if name not in folders))
    return folders


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} frames/s")
