"""What Ray and accelerate cost beside the same loop in a bare process.

    tools/bench_training.py [RECIPE] [--blocks N]

Both train the recipe's method on the same batches, held in memory, on one thread. The bare
process has the loop and plain PyTorch; the other is a whole run: Ray Train, accelerate, journal,
reports. They take turns, a few steps each, so that both see the same machine; starting up and
the last checkpoint are not counted. The worker's processor time is compared as well, which other
programs disturb less. What Ray's own processes compute meanwhile slows both alike, so it is told
beside. Prints JSON.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from selfseg.contracts import FramePairs
from selfseg.experiment import ExperimentConfig, build_method, read_recipe
from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import launch
from selfseg.training import session
from selfseg.training.checkpoint import RunRecord
from selfseg.training.loop import Progress, train
from selfseg.training.optimisers import build_optimisers
from selfseg.training.watchdog import Whereabouts
from selfseg.training.worker import AcceleratedWorker, set_up_process

BLOCK = 4
"""Steps in a turn."""

WARM_UP = 2
"""Turns that are not counted."""

KINDS = ("bare", "ray")


class HalfPrecision(nn.Module):
    """A player whose inside computes in bfloat16, as accelerate arranges it."""

    def __init__(self, player: nn.Module) -> None:
        super().__init__()
        self.player = player

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute in bfloat16, answer in float32."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.player(*inputs).float()


class BareWorker:
    """One process and plain PyTorch."""

    rank = 0
    world_size = 1
    device = torch.device("cpu")
    scales_loss = False
    leaving = False

    def __init__(self, precision: str) -> None:
        self._precision = precision
        self.whereabouts = Whereabouts()

    def wrap_player(self, player: nn.Module) -> nn.Module:
        """Choose the precision."""
        return HalfPrecision(player) if self._precision == "bf16" else player

    def wrap_optimiser(self, optimiser: Optimizer) -> Optimizer:
        """Leave it alone."""
        return optimiser

    def backward(self, loss: Tensor) -> None:
        """Differentiate."""
        loss.backward()

    def clip(
        self,
        optimiser: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        norm: float | None,
        value: float | None,
    ) -> Tensor:
        """Bound the gradients."""
        del optimiser
        before = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if value is not None:
            clip_grad_value_(parameters, value)
        if norm is not None:
            clip_grads_with_norm_(parameters, norm, before)
        return before

    def forgo(self) -> None:
        """Nothing is scaled."""

    def all_finite(self, values: Iterable[Tensor]) -> bool:
        """Look at each value."""
        return all(bool(value.isfinite()) for value in values)

    def gather(self, text: str) -> list[str]:
        """There is only this one."""
        return [text]

    def state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


def held_batches(config: ExperimentConfig) -> Iterator[FramePairs]:
    """Yield a few made-up batches for ever."""
    generator = Generator().manual_seed(0)
    size = (config.data.batch_size, 2, config.data.height, config.data.width)
    batches = []
    for _ in range(4):
        flows = [torch.randn(size, generator=generator) for _ in range(4)]
        image = torch.rand(size[0], 3, *size[2:], generator=generator)
        batches.append(FramePairs(image, *flows, keys=("made up",) * size[0]))
    return itertools.cycle(batches)


def batches_in_turns(
    kind: str, config: ExperimentConfig, folder: Path, blocks: int
) -> Iterator[FramePairs]:
    """Yield batches when it is this kind's turn, and note in `folder` how long each turn took.

    A turn lasts from its first batch until the batch after its last is asked for, so all that
    the loop does between steps counts.
    """
    held = held_batches(config)
    other = KINDS[1 - KINDS.index(kind)]
    turn = folder / "turn"
    for _ in range(blocks):
        while turn.read_text() != kind:
            time.sleep(0.002)
        started, used = time.perf_counter(), time.process_time()
        yield from itertools.islice(held, BLOCK)
        with (folder / kind).open("a") as notes:
            notes.write(f"{time.perf_counter() - started} {time.process_time() - used}\n")
        turn.write_text(other)
    yield from held


def bare_process(config: ExperimentConfig, folder: Path, blocks: int) -> None:
    """Run the loop alone."""
    set_up_process(1)
    torch.manual_seed(config.seed)
    method = build_method(config.method)
    method.players.train()
    for _ in train(
        method,
        batches_in_turns("bare", config, folder, blocks),
        optimisers=build_optimisers(method.players, config.optim),
        optim=config.optim,
        worker=BareWorker(config.loop.precision),
        config=config.loop,
        seed=config.seed,
        progress=Progress(),
    ):
        pass


def ray_worker(payload: dict[str, Any]) -> None:
    """Do a whole run, as its only worker."""
    config = ExperimentConfig.model_validate(payload["config"])
    folder = Path(payload["folder"])
    set_up_process(1)
    torch.manual_seed(config.seed)
    record = RunRecord(settings=payload["config"], collection="held", manifest="", ingest={})
    plan = session.Plan(payload["run_url"], record, config.seed, config.optim, config.loop)
    (folder / "pid").write_text(str(psutil.Process().pid))
    session.run(
        plan,
        build_method(config.method),
        lambda _: batches_in_turns("ray", config, folder, payload["blocks"]),
        worker=AcceleratedWorker(config.loop.precision),
        audience=payload["audience"],
    )


class Referee(threading.Thread):
    """Gives the first turn, and counts the CPU time of Ray's processes, without the worker."""

    def __init__(self, folder: Path, blocks: int) -> None:
        super().__init__()
        self.cores = 0.0
        """Busy on average until shortly before the last turn."""
        self._folder, self._blocks = folder, blocks

    def run(self) -> None:
        """Wait for the worker, start, and look every second until the last turn begins."""
        while not (self._folder / "pid").exists():
            time.sleep(0.1)
        time.sleep(3)
        before, started = self._used(), time.perf_counter()
        (self._folder / "turn").write_text("bare")
        bare = self._folder / "bare"
        while not bare.exists() or len(read_turns(bare)) < self._blocks:
            time.sleep(1)
            total = sum(used - before.get(pid, 0.0) for pid, used in self._used().items())
            self.cores = total / (time.perf_counter() - started)

    def _used(self) -> dict[int, float]:
        worker = int((self._folder / "pid").read_text())
        used = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):  # it has just ended
                if process.pid != worker and "spawn_main" not in " ".join(process.cmdline()):
                    times = process.cpu_times()
                    used[process.pid] = times.user + times.system
        return used


def compare(config: ExperimentConfig, blocks: int) -> dict[str, float]:
    """Let both take turns; return their rates."""
    steps = BLOCK * blocks + 1  # one more, so that the last turn's end is noticed
    config = config.override(
        {"loop.steps": steps, "loop.checkpoint_every": steps, "optim.average": 0.0}
    )
    connect(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "turn").write_text("")
        context = multiprocessing.get_context("spawn")
        bare = context.Process(target=bare_process, args=(config, folder, blocks))
        bare.start()
        payload = {
            "run_url": str(folder / "run"),
            "config": config.model_dump(mode="json"),
            "folder": name,
            "blocks": blocks,
        }
        referee = Referee(folder, blocks)
        referee.start()
        launch(ray_worker, payload, workers=1, hang_timeout_s=600)
        bare.join()
        referee.join()
        # The last turns overlap the other's end.
        turns = {kind: read_turns(folder / kind)[WARM_UP:-1] for kind in KINDS}
    wall, processor = ({kind: [turn[i] for turn in turns[kind]] for kind in KINDS} for i in (0, 1))
    return {
        "bare_steps_per_s": BLOCK / statistics.median(wall["bare"]),
        "ray_steps_per_s": BLOCK / statistics.median(wall["ray"]),
        "share_kept": share_kept(wall),
        "share_kept_in_processor_time": share_kept(processor),
        "turns": len(turns["ray"]),
        "cores_busy_with_ray": referee.cores,
    }


def share_kept(seconds: dict[str, list[float]]) -> float:
    """Compare each turn with the one before it, and take the median."""
    pairs = zip(seconds["bare"], seconds["ray"], strict=True)
    return statistics.median(bare / ray for bare, ray in pairs)


def read_turns(path: Path) -> list[tuple[float, float]]:
    """Read what `batches_in_turns` noted: wall and processor time, in seconds."""
    lines = (line.split() for line in path.read_text().splitlines())
    return [(float(wall), float(processor)) for wall, processor in lines]


def main() -> None:
    """Read the command line, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="dystab_dynamic_cpu")
    parser.add_argument("--blocks", type=int, default=40, help="turns of each (default: 40)")
    arguments = parser.parse_args()
    config = read_recipe(arguments.recipe)
    print(json.dumps(compare(config, arguments.blocks)))


if __name__ == "__main__":
    main()
