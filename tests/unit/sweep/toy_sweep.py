"""A sweep over two settings, and trials that only pretend to train."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfseg.runtime.trial import Work
from selfseg.sweep.plan import Measure, Sweep, Trial, grid, plan

MEASURE = Measure("j_mean", view="static")
STEPS = 9

SWEEP = Sweep(
    table="proposal/4",
    column="Ski-PTZ val J",
    cells=grid(
        "proposal_without_flow_cpu",
        {
            "box": ("method.detector.box", ((0.2, 0.5), (0.2, 0.8))),
            "lambda": ("method.mask_lambda", (0.0005, 0.001, 0.005)),
        },
    ),
    measure=MEASURE,
    benchmark="ski-ptz",
    splits=("val", "test"),
)


def trials_of(
    output: Path, *, seeds: int = 1, changes: Mapping[str, Any] | None = None
) -> list[Trial]:
    """Return the trials, six for each seed, of nine steps."""
    short = {"method.inpainter_steps": 4, "method.proposal_steps": 5, "loop.steps": STEPS}
    return plan(
        SWEEP,
        output=str(output),
        seeds=seeds,
        changes=short | dict(changes or {}),
        depends_on={"manifest": "0"},
    )


class Pretence:
    """Work whose scores are given, by trial and step; it notes what was trained."""

    def __init__(self, scores: Mapping[str, Mapping[int, float]]) -> None:
        self.scores = scores
        self.trained: list[tuple[str, int]] = []
        self.work = Work(self._train, self._score)

    def _train(self, trial: Trial, step: int) -> None:
        self.trained.append((trial.name, step))

    def _score(self, trial: Trial, step: int) -> list[dict[str, Any]]:
        score = self.scores[trial.name][step]
        about = {"view": "static", "round": None, "crf": False, "threshold": 0.35}
        return [{"j_mean": score, **about, "sequences": {}}]


def rising(trials: list[Trial]) -> dict[str, dict[int, float]]:
    """Let the first trial be best, then each a tenth worse, at any step."""
    return {
        trial.name: dict.fromkeys(range(1, STEPS + 1), 0.9 - 0.1 * place)
        for place, trial in enumerate(trials)
    }
