"""What is scored: a checkpoint or a baseline, and what is done to its masks."""

from dataclasses import dataclass, replace
from typing import Self

from selfseg.contracts import View
from selfseg.errors import UsageError
from selfseg.experiment import load_model, round_checkpoint
from selfseg.methods.mask_rcnn import TORCHVISION
from selfseg.prediction.baselines import SUPERVISED, baseline_segmenter, supervised_segmenter
from selfseg.prediction.benchmarks import Benchmark
from selfseg.prediction.detection import object_segmenter
from selfseg.prediction.segment import (
    ModelSegmenter,
    Segmenter,
    compute_device,
    model_segmenter,
)
from selfseg.training.checkpoint import resolve


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored, in words: enough for each process to build its own.

    checkpoint: URL of a checkpoint or a run; None for a baseline
    round: of the run, whose checkpoint is meant; None for the newest
    baseline: name of a baseline; None for a checkpoint
    weights: of the supervised baseline
    gaps: frames between the ends of a motion; None for what the checkpoint was trained on
    view: what a checkpoint looks at; None for what its method calls best
    augment: whether a checkpoint's masks are averaged over crops and mirror images
    crf: whether masks are refined by the dense CRF
    device: where the model computes
    name: what tables call it; None for what a URL or a baseline is called
    seed: of the checkpoint's run, once it was looked up
    """

    checkpoint: str | None = None
    round: int | None = None
    baseline: str | None = None
    weights: str = TORCHVISION
    gaps: tuple[int, ...] | None = None
    view: View | None = None
    augment: bool = False
    crf: bool = False
    device: str = "cpu"
    name: str | None = None
    seed: int | None = None

    def segmenter(self) -> Segmenter:
        """Build what turns frames into masks.

        Raises:
            UserError: no such checkpoint or baseline, or one that cannot be used.
        """
        if self.baseline == SUPERVISED:
            return supervised_segmenter(self.weights, compute_device(self.device))
        if self.baseline:
            return baseline_segmenter(self.baseline, gaps=self.gaps)
        return object_segmenter(self._model_segmenter())

    def settled(self, benchmark: Benchmark) -> Self:
        """Decide what was left open: the run's newest checkpoint, and the view for a benchmark.

        Raises:
            UserError: no such checkpoint, or one that cannot be used.
        """
        if self.baseline:
            return self
        # A run may save a newer checkpoint while it is being scored.
        url = str(self.checkpoint)
        found = resolve(url) if self.round is None else round_checkpoint(url, self.round)
        subject = replace(self, checkpoint=found)
        segmenter = subject._model_segmenter()
        view = segmenter.view_of(benchmark.sources[0])
        model = segmenter.model
        name = self.name or url.rstrip("/").rpartition("/")[2]
        if self.round is not None:
            name = f"{name} round {self.round}"
        if len(model.method.views) > 1:
            name = f"{name} {view}"
        return replace(subject, name=name, view=view, seed=model.config.seed, round=model.round)

    def _model_segmenter(self) -> ModelSegmenter:
        if not self.checkpoint:
            raise UsageError("nothing to score: give a checkpoint, a run, or --baseline NAME")
        device = compute_device(self.device)
        return model_segmenter(
            load_model(self.checkpoint, device),
            gaps=self.gaps,
            device=device,
            view=self.view,
            augment=self.augment,
        )

    @property
    def title(self) -> str:
        """What tables call it, with what is done to its masks."""
        name = self.name or self.baseline or str(self.checkpoint).rstrip("/").rpartition("/")[2]
        if self.baseline == SUPERVISED:
            name = f"{name} (supervised)"
        done = [" + crops"] * (self.augment and not self.baseline) + [" + CRF"] * self.crf
        return "".join([name, *done])
