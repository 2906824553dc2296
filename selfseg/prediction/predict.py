"""Apply a trained model to whatever a person points at."""

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain, count

import torch
from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.text import Text

from selfseg import storage
from selfseg.contracts import View
from selfseg.errors import UsageError
from selfseg.experiment import Model
from selfseg.prediction.inputs import find_sources
from selfseg.prediction.output import (
    LINES,
    VIDEO,
    FramePrediction,
    claim,
    overlay_video,
    write_frame,
)
from selfseg.prediction.progress import bar
from selfseg.prediction.segment import ModelSegmenter, model_segmenter, refined
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
    device: torch.device,
    console: Console | None = None,
) -> Summary:
    """Segment images, videos, folders of frames, collections; local or in a bucket.

    Writes OUTPUT/predictions.jsonl and, for each source, masks/, overlays/ and overlay.webm.

    Args:
        model: a trained method and how its data was prepared.
        inputs: paths and s3:// URLs.
        output: folder or s3:// URL; empty, new, or of earlier predictions, which are replaced.
        gaps: frames between the ends of a motion; None for those the model was trained on.
        view: what the model looks at; None for what its method calls best, and a still's image.
        augment: average over crops and mirror images of each frame.
        crf: refine masks by the dense CRF.
        device: where the model computes.
        console: where progress is shown; None for stderr.

    Raises:
        UserError: an input or the output cannot be used.
    """
    if not inputs:
        raise UsageError("nothing to segment: give images, videos, folders or s3:// URLs")
    segmenter = model_segmenter(model, gaps=gaps, device=device, view=view, augment=augment)
    sources = [source for argument in inputs for source in find_sources(argument)]
    segmenter.check(sources)
    claim(output)
    started = time.monotonic()
    lines: list[FramePrediction] = []
    with bar(console, _Rate()) as progress:
        for folder, source in zip(_folders(sources), sources, strict=True):
            task = progress.add_task(folder, total=source.num_frames)
            for line in _predicted(segmenter, source, output, folder, crf=crf):
                lines.append(line)
                progress.advance(task)
            # Once for each source: in a bucket, nothing can be appended to.
            text = "".join(f"{line.model_dump_json()}\n" for line in lines)
            storage.write(storage.join(output, LINES), text.encode())
    videos = tuple(
        storage.join(output, folder, VIDEO)
        for folder, source in zip(_folders(sources), sources, strict=True)
        if not source.still
    )
    return Summary(output, len(sources), len(lines), time.monotonic() - started, videos)


def _predicted(
    segmenter: ModelSegmenter, source: Source, output: str, folder: str, *, crf: bool
) -> Iterator[FramePrediction]:
    """Segment one source, write all that shows it, and yield a line for each frame."""
    url = storage.join(output, folder, VIDEO)
    with nullcontext() if source.still else overlay_video(url) as video:
        for frame, mask in segmenter.masks(source):
            final = refined(frame.image, mask) if crf else mask
            line, shown = write_frame(output, folder, frame, final)
            if video:
                video.add(shown, frame.time_s)
            yield line


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
