"""The one training loop. It knows players, steps and workers; no paper, no Ray, no files."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from selfseg.config import Config
from selfseg.contracts import FramePairs, Method, Objective, Phase
from selfseg.training.optimisers import AdamConfig, OptimisersConfig, learning_rate_at
from selfseg.training.worker import Precision, Worker, seed_step


class LoopConfig(Config):
    """How long to train, how exactly, and how often to save."""

    steps: PositiveInt = 1000
    """Optimiser steps, all players together."""

    checkpoint_every: PositiveInt = 500
    """Steps between two checkpoints; the last step always has one."""

    keep_checkpoints: PositiveInt = 3
    """Newest checkpoints that are kept; at least 2 leave one to fall back to. Those that end a
    round are kept besides, and of those that were scored the best."""

    precision: Precision = "no"
    """Numbers of the forward pass: float32 ("no"), bfloat16, or float16 with a scaled loss."""

    max_skipped: NonNegativeInt = 10
    """Steps without a finite loss and gradient that are left out, of `checkpoint_every` in a row;
    with one more the run goes back to a checkpoint before them."""

    max_rollbacks: NonNegativeInt = 3
    """Times that a run goes back to an older checkpoint before it gives up."""

    hang_timeout_s: PositiveFloat = 1200.0
    """Longest time that a step, a batch, an exchange or a checkpoint takes in a sound run, longer
    than a store that is away is waited for (SELFSEG_STORAGE_PATIENCE); the first step may take
    three times as long. After it the worker ends, to be started again."""

    threads: PositiveInt | None = None
    """Torch threads of each worker; by default its share of the cores, less its loader's."""


MOST_OVERFLOWS = 30
"""Overflows of scaled gradients in a row that only lower the scale: each halves it, and it begins
at 2^16. With one more, a gradient that is not finite is a fault as it is without a scale."""


@dataclass(slots=True)
class Progress:
    """Everything the loop itself must remember to resume exactly.

    step: steps taken, which is also the number of the next
    skipped: of these, the ones left out because a number was not finite
    recent: their numbers, of the last `LoopConfig.checkpoint_every` steps
    overflows: how many of the last steps a scaler left out, in a row; begins anew in a resumed run
    """

    step: int = 0
    skipped: int = 0
    recent: tuple[int, ...] = ()
    overflows: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of one player, on this worker.

    number: counted from 0
    terms: the summands of the mover's loss, `loss` itself and `gradient_norm` (after averaging
        over the workers, before clipping); scalars on the worker's device
    wait_s: until the batch was there
    compute_s: from the batch to the changed weights
    forward_s: of that, until the loss: the part in which no worker waits for another. Of work on
        a GPU it is the time to ask for it
    fault: what was not finite, and on which worker, so that the step was left out; None: nothing.
        The same on every worker.
    """

    number: int
    player: str
    terms: dict[str, Tensor]
    wait_s: float
    compute_s: float
    forward_s: float = 0.0
    fault: str | None = None


class Cast:
    """The players of a method, of whom one moves and the others are frozen, dropout and all.

    Raises no gradient of a resting player, so no player is changed by another's loss. Only the
    mover's module is wrapped: the wrapper averages its gradients over the workers.
    """

    def __init__(self, players: nn.ModuleDict, worker: Worker) -> None:
        self._players = players
        self._resting = dict(players.items())
        self._parameters = {
            name: [p for p in player.parameters() if p.requires_grad]
            for name, player in players.items()
        }
        self._moving = {
            name: worker.wrap_player(player)
            for name, player in self._resting.items()
            if self._parameters[name]
        }
        for parameters in self._parameters.values():
            _require_gradients(parameters, needed=False)
        players.eval()

    @contextmanager
    def turn(self, player: str) -> Iterator[list[nn.Parameter]]:
        """Let `player` move; yields its parameters."""
        _require_gradients(self._parameters[player], needed=True)
        self._players[player] = self._moving[player].train()
        try:
            yield self._parameters[player]
        finally:
            self._players[player] = self._resting[player].eval()
            _require_gradients(self._parameters[player], needed=False)


def train(
    method: Method,
    batches: Iterator[FramePairs],
    *,
    optimisers: Mapping[str, Optimizer],
    optim: OptimisersConfig,
    worker: Worker,
    config: LoopConfig,
    seed: int,
    progress: Progress,
) -> Iterator[Step]:
    """Let the players take turns until `config.steps`; yield after every step.

    `batches` never ends and starts at step `progress.step`, which advances before each yield.
    Between two steps, whoever drives the loop may change weights and optimisers.
    """
    cast = Cast(method.players, worker)
    wrapped = {name: worker.wrap_optimiser(each) for name, each in optimisers.items()}
    while progress.step < config.steps:
        started = time.perf_counter()
        with worker.whereabouts.doing("next batch"):
            batch = to_device(next(batches), worker.device)
        arrived = time.perf_counter()
        method.prepare(progress.step)
        player = method.player_at(progress.step)
        with cast.turn(player) as parameters:
            generator = seed_step(seed, progress.step, worker.rank, worker.device)
            objective = method.objective(player, batch, progress.step, generator)
            forward_s = time.perf_counter() - arrived
            worker.backward(objective.loss)
            rate = _rate(progress.step, method.phases, optim.of(player), config.steps)
            norm = _bound(wrapped[player], parameters, rate, optim.of(player), worker)
        if _may_step(progress, objective.loss, norm, worker):
            wrapped[player].step()
            fault = None
        else:
            worker.forgo()
            fault = _skip(progress, objective, worker, config.checkpoint_every)
        wrapped[player].zero_grad()
        progress.step += 1
        worker.whereabouts.step_done(progress.step)
        terms = {**objective.terms, "loss": objective.loss.detach(), "gradient_norm": norm}
        computed = time.perf_counter() - arrived
        number, timed = progress.step - 1, (arrived - started, computed, forward_s)
        yield Step(number, player, terms, *timed, fault)


def to_device(batch: FramePairs, device: torch.device) -> FramePairs:
    """Copy the tensors of `batch` to `device`; those that are there already are shared."""
    return replace(
        batch,
        image=batch.image.to(device, non_blocking=True),
        flow=batch.flow.to(device, non_blocking=True),
        flow_back=batch.flow_back.to(device, non_blocking=True),
        camera=batch.camera.to(device, non_blocking=True),
        camera_back=batch.camera_back.to(device, non_blocking=True),
        truth=None if batch.truth is None else batch.truth.to(device, non_blocking=True),
        background=(
            None if batch.background is None else batch.background.to(device, non_blocking=True)
        ),
    )


def _rate(step: int, phases: Sequence[Phase], settings: AdamConfig, steps: int) -> float:
    """Return the learning rate of a step; the schedule begins anew with each phase."""
    here = next((phase for phase in phases if step < phase.stop), Phase("", 0, steps))
    return here.rate * learning_rate_at(step - here.start, settings, here.stop - here.start)


def _bound(
    optimiser: Optimizer,
    parameters: list[nn.Parameter],
    rate: float,
    settings: AdamConfig,
    worker: Worker,
) -> Tensor:
    """Set how far the coming step may go; return the gradient's norm before clipping."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
    return worker.clip(optimiser, parameters, norm=settings.clip_norm, value=settings.clip_value)


def _may_step(progress: Progress, loss: Tensor, norm: Tensor, worker: Worker) -> bool:
    """Tell whether all is finite, or only a scaled gradient overflows: the scaler skips by itself.

    The same on every worker.
    """
    if worker.all_finite([loss, norm]):
        progress.overflows = 0
        return True
    tolerated = worker.scales_loss and progress.overflows < MOST_OVERFLOWS
    if tolerated and worker.all_finite([loss]):
        progress.overflows += 1
        return True
    return False


def _require_gradients(parameters: list[nn.Parameter], *, needed: bool) -> None:
    for parameter in parameters:
        parameter.requires_grad_(needed)


def _skip(progress: Progress, objective: Objective, worker: Worker, window: int) -> str:
    """Note that a step is left out; return why. Every worker arrives here at the same step."""
    progress.skipped += 1
    recent = (step for step in progress.recent if step > progress.step - window)
    progress.recent = (*recent, progress.step)
    values = {**objective.terms, "loss": objective.loss}
    culprits = [name for name, value in values.items() if not value.detach().isfinite().item()]
    named = worker.gather(f"term {culprits[0]}" if culprits else "")
    causes = [f"{cause} on worker {rank}" for rank, cause in enumerate(named) if cause]
    return causes[0] if causes else "the gradient, of finite terms,"
