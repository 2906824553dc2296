"""What losing workers and nodes costs a run on a cluster: seconds to recover, and goodput."""

import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from selfseg.training import checkpoint
from selfseg.training.goodput import best_interval_s, expected_share, read_goodput
from tools.fault_suite.bed import Bed, Command, wait_until
from tools.fault_suite.history import Attempt, read_attempts

RECIPE = "dystab_dynamic_cpu"
WORKERS = 2
PATIENCE_S = 300.0
FOR_EVER = 10**6
CHECKPOINT_S, KILL_EVERY_S, LASTS_S = 10.0, 60.0, 300.0
CALIBRATION = 40
"""Steps from which the length of a step is told."""


def recovery(bed: Bed, repetitions: int) -> dict[str, Any]:
    """Lose a worker and a node in turn; say how long it was until the next step."""
    run_url, notes = str(bed.folder / "recovery"), bed.folder / "recovery_notes"
    command = _started(bed, run_url, notes, steps=FOR_EVER, every=20)
    found: dict[str, list[float]] = {"worker": [], "node": []}
    for number in range(repetitions):
        for what, seconds in found.items():
            _await_checkpoint(command, run_url)
            pid = _attempts(notes, number % WORKERS)[-1].pid
            if what == "node":
                node = bed.nodes.hosting(pid)
                lost_at = time.time()
                bed.nodes.kill(node)
                bed.nodes.replenish()
            else:
                lost_at = time.time()
                psutil.Process(pid).kill()
            seconds.append(_next_step(command, notes, lost_at) - lost_at)
            print(f"  {what} lost: {seconds[-1]:.1f} s to the next step", flush=True)
    command.kill()
    return {what: {"median_s": median(each), "all_s": each} for what, each in found.items()}


def goodput(bed: Bed) -> dict[str, Any]:
    """Lose a worker every minute of a run that is saved every ten seconds; read the ledger."""
    step_s = _calibrate(bed)
    every = max(1, round(CHECKPOINT_S / step_s))
    # As many steps as the time left between kills has room for, were three quarters productive.
    steps = round(0.75 * LASTS_S / step_s)
    run_url, notes = str(bed.folder / "goodput"), bed.folder / "goodput_notes"
    command = _started(bed, run_url, notes, steps=steps, every=every)
    began, lost = time.time(), []
    while command.running().poll() is None:
        if time.time() - began > KILL_EVERY_S * (len(lost) + 1):
            latest = _attempts(notes, len(lost) % WORKERS)
            lost.append(time.time())
            if latest and psutil.pid_exists(latest[-1].pid):
                psutil.Process(latest[-1].pid).kill()
                print(f"  kill {len(lost)} at step {latest[-1].reached} of {steps}", flush=True)
        time.sleep(0.2)
    if code := command.running().returncode:
        raise RuntimeError(f"the run ended with {code}: {command.output.read_text()[-2000:]}")
    return _ledger(run_url, notes, step_s=step_s, every=every, lost=lost)


def _ledger(
    run_url: str, notes: Path, *, step_s: float, every: int, lost: list[float]
) -> dict[str, Any]:
    ledger = read_goodput(run_url)
    assert ledger is not None
    back = [_first_after(_attempts(notes, 0), at) for at in lost]
    recoveries = [then - at for then, at in zip(back, lost, strict=True) if then is not None]
    saved = ledger.checkpoint_s / max(1, ledger.productive_s / (every * step_s))
    recovery_s = median(recoveries) if recoveries else 0.0
    return {
        "goodput": ledger.share,
        "expected": expected_share(KILL_EVERY_S, saved, every * step_s, recovery_s),
        "kills": len(lost),
        "interval_s": every * step_s,
        "best_interval_s": best_interval_s(KILL_EVERY_S, saved) if saved else 0.0,
        "checkpoint_s": saved,
        "recovery_s": recovery_s,
        "ledger": asdict(ledger),
    }


def _calibrate(bed: Bed) -> float:
    """Return how long a step takes here, by a short run."""
    run_url, notes = str(bed.folder / "calibration"), bed.folder / "calibration_notes"
    command = _started(bed, run_url, notes, steps=CALIBRATION, every=CALIBRATION)
    if command.wait(2 * PATIENCE_S) != 0:
        raise RuntimeError(f"the run failed: {command.output.read_text()[-2000:]}")
    times = _attempts(notes, 0)[0].times
    half = len(times) // 2
    return (times[-1] - times[half]) / (len(times) - 1 - half)


def _started(bed: Bed, run_url: str, notes: Path, *, steps: int, every: int) -> Command:
    command = bed.command(
        RECIPE, run_url, notes, WORKERS,
        f"loop.steps={steps}", f"loop.checkpoint_every={every}", "loop.threads=1", "data.gaps=[1]",
    )  # fmt: skip
    command.give()
    return command


def _await_checkpoint(command: Command, run_url: str) -> None:
    """Wait until the run has saved again: failures without a checkpoint between them end it."""
    before = checkpoint.committed(run_url)[-1:]
    _expect(command, lambda: checkpoint.committed(run_url)[-1:] != before, "no checkpoint")


def _next_step(command: Command, notes: Path, after: float) -> float:
    _expect(command, lambda: _first_after(_attempts(notes, 0), after) is not None, "no step")
    found = _first_after(_attempts(notes, 0), after)
    assert found is not None
    return found


def _expect(command: Command, happened, otherwise: str) -> None:
    ended = command.running().poll
    if not wait_until(lambda: happened() or ended() is not None, PATIENCE_S) or not happened():
        raise RuntimeError(f"{otherwise}: {command.output.read_text()[-2000:]}")


def _attempts(notes: Path, rank: int) -> list[Attempt]:
    return read_attempts(notes / f"rank_{rank}.jsonl")


def _first_after(attempts: list[Attempt], moment: float) -> float | None:
    """Return when the first step of an attempt that began after a moment ended."""
    later = [each.times[0] for each in attempts if each.begun_at > moment and each.times]
    return min(later, default=None)
