"""A small game of two players and batches made on the spot: training without a paper or data."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.optim import SGD, Optimizer

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.training.audience import Failure, Report
from selfseg.training.checkpoint import RunRecord
from selfseg.training.loop import LoopConfig
from selfseg.training.optimisers import OptimisersConfig
from selfseg.training.trainee import Plan
from selfseg.training.watchdog import Place

BATCH = 12


class Game:
    """A guesser of flow from the image, and a judge of where it is wrong; 2 : 1 turns."""

    views: tuple[View, ...] = ("static",)
    supervised = False
    wants_motion = True
    wants_background = False

    def __init__(
        self,
        *,
        dropout: float = 0.0,
        poison: frozenset[int] = frozenset(),
        phases: tuple[Phase, ...] = (),
    ) -> None:
        self.phases = phases
        self.prepared: list[int] = []
        torch.manual_seed(0)
        self.poison = poison
        self.players = nn.ModuleDict(
            {
                "guesser": nn.Sequential(
                    nn.Conv2d(3, 8, 3, padding=1),
                    nn.GroupNorm(2, 8),
                    nn.ReLU(),
                    nn.Dropout(dropout),
                    nn.Conv2d(8, 2, 3, padding=1),
                ),
                "judge": nn.Sequential(
                    nn.Conv2d(5, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)
                ),
            }
        )

    def initialise(self, fresh: Collection[str]) -> None:
        """Keep the random weights."""

    def prepare(self, step: int) -> None:
        self.prepared.append(step)

    def player_at(self, step: int) -> str:
        return "judge" if step % 3 == 2 else "guesser"

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        del generator
        guess = self.players["guesser"](batch.image)
        error = (guess - batch.flow).abs().mean(1, keepdim=True)
        doubt = self.players["judge"](torch.cat([batch.image, guess], 1))
        error_term = error.mean()
        doubt_term = (doubt - error.detach()).square().mean()
        loss = error_term + 0.1 * doubt_term if player == "guesser" else doubt_term
        if step in self.poison:
            loss = loss * torch.nan
        return Objective(loss, {"error": error_term.detach(), "doubt": doubt_term.detach()})

    def segment(self, frame: FramePairs, view: View) -> Tensor:
        assert view == "static"
        guess = self.players["guesser"](frame.image)
        return self.players["judge"](torch.cat([frame.image, guess], 1)).sigmoid()[0, 0]


def toy_batches(step: int, rank: int = 0, world_size: int = 1) -> Iterator[FramePairs]:
    """Yield this worker's slices of endless global batches of `BATCH`, a function of the step."""
    share = BATCH // world_size
    rows = slice(rank * share, (rank + 1) * share)
    while True:
        generator = Generator().manual_seed(step)
        image = torch.rand(BATCH, 3, 10, 12, generator=generator)[rows]
        flow = 2 * image[:, :2] - 1  # so that it can be guessed
        keys = tuple(f"{step}-{row}" for row in range(BATCH))[rows]
        yield FramePairs(image, flow, -flow, 0 * flow, 0 * flow, keys)
        step += 1


def toy_batches_until(stop_before: int | None) -> Callable[[int], Iterator[FramePairs]]:
    """Return what opens batches that break down at a step; None: they do not."""

    def open_batches(step: int) -> Iterator[FramePairs]:
        for number, batch in enumerate(toy_batches(step), start=step):
            if number == stop_before:
                raise ConnectionAbortedError
            yield batch

    return open_batches


def toy_plan(
    run_url: Path | str,
    *,
    seed: int = 0,
    average: float = 0.0,
    learning_rate: float = 1e-2,
    schedule: Literal["constant", "cosine"] = "constant",
    **loop: object,
) -> Plan:
    config = LoopConfig.parse({"steps": 12, "checkpoint_every": 4, **loop}, origin="toy")
    optim = OptimisersConfig(learning_rate=learning_rate, schedule=schedule, average=average)
    settings = {"optim": optim.model_dump(mode="json"), "loop": config.model_dump(mode="json")}
    record = RunRecord(settings=settings, collection="toy", manifest="0" * 64, ingest={})
    return Plan(str(run_url), record, seed, optim, config)


def plain_descent(game: Game) -> dict[str, Optimizer]:
    """SGD, not Adam: Adam would hide a gradient that is wrong by a constant factor."""
    return {name: SGD(player.parameters(), 0.1) for name, player in game.players.items()}


class Alone:
    """A meeting of one worker, which nobody tells to leave."""

    def beat(self, rank: int, place: Place) -> None:
        """Nobody hears it."""

    def places(self) -> dict[int, Place]:
        return {}

    def tell(self, note: str) -> None:
        """Nobody hears it."""

    def must_leave(self) -> bool:
        return False


class Listener:
    """An audience that remembers what it was told."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.checkpoints: list[int] = []

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def outage(self, rank: int, note: str) -> None:
        self.reports.append(Report(0, 0, notes=(f"worker {rank}: {note}",)))

    def saved(self, step: int) -> None:
        self.checkpoints.append(step)

    def begin(self) -> Failure | None:
        return None

    def notes(self) -> list[str]:
        return [note for report in self.reports for note in report.notes]
