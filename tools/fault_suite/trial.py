"""One faulted run from its beginning to the proof that nothing was lost."""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from selfseg.training import checkpoint
from tools.fault_suite.bed import BUCKET, Bed, wait_until
from tools.fault_suite.history import (
    faults_in_attempts,
    faults_in_journal,
    faults_in_state,
    standstill_s,
    steps_redone,
)
from tools.fault_suite.kinds import KINDS, PATIENCE_S, Scene
from tools.fault_suite.schedule import STEPS, Planned

RUN_WITHIN_S = 900.0
"""Of one command; a run takes half a minute on an idle machine."""

GIVEN_AT_MOST = 3
"""Times that a person would give the same command."""

WORDS_KEPT = 4000
"""Of what a failed command printed: characters, the last."""


@dataclass(slots=True)
class Outcome:
    """What became of a faulted run.

    wrong: what it lost, did twice, or got otherwise; empty: nothing
    bit_equal: weights, running mean and optimisers are those of the undisturbed run
    redone: steps that were taken again, by one worker
    standstill_s: longest time without a step from the fault on: how long recovery took
    took_s: in all
    printed: the command's last words, where something is wrong
    """

    planned: Planned
    wrong: list[str] = field(default_factory=list)
    bit_equal: bool = False
    redone: int = 0
    standstill_s: float = 0.0
    took_s: float = 0.0
    printed: str = ""


def recipe(method: str) -> Path:
    """Return the recipe beside this file."""
    return Path(__file__).with_name(f"{method}.toml")


def undisturbed(bed: Bed, method: str) -> str:
    """Train without a fault what all runs of a method are compared with; return its URL."""
    run_url = str(bed.folder / f"undisturbed_{method}")
    notes = bed.folder / f"undisturbed_{method}_notes"
    command = bed.command(recipe(method), run_url, notes, bed.nodes.num)
    command.give()
    if command.wait(RUN_WITHIN_S) != 0:
        raise RuntimeError(f"the undisturbed run failed:\n{command.output.read_text()}")
    return run_url


def faulted(bed: Bed, planned: Planned, reference: str) -> Outcome:
    """Train with one fault, and compare with the undisturbed run."""
    kind = KINDS[planned.kind]
    name = f"run_{planned.number:03d}"
    run_url = f"s3://{BUCKET}/{name}" if kind.stored else str(bed.folder / name)
    command = bed.command(
        recipe(planned.method), run_url, bed.folder / f"{name}_notes", bed.nodes.num
    )
    scene, outcome, began = Scene(bed, command, run_url, planned), Outcome(planned), time.time()
    command.give()
    try:
        _strike_and_finish(scene, outcome)
        _compare(scene, outcome, reference)
    except Exception as error:
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        command.kill()
    outcome.took_s = time.time() - began
    if outcome.wrong:
        outcome.printed = command.output.read_text(errors="replace")[-WORDS_KEPT:]
    else:
        shutil.rmtree(run_url, ignore_errors=True)
    return outcome


def _strike_and_finish(scene: Scene, outcome: Outcome) -> None:
    """Let the fault happen at its step, and the run come to its end, given again if need be."""
    kind, command = KINDS[scene.planned.kind], scene.command
    _await_step(scene)
    struck_at = time.time()
    kind.strike(scene)
    over_at = time.time()
    newest, _ = checkpoint.newest_whole(scene.run_url)
    safe = checkpoint.load(newest)[0].step if newest else 0
    while code := command.wait(RUN_WITHIN_S):
        if not kind.again or command.given == GIVEN_AT_MOST:
            raise RuntimeError(f"the command ended with {code}")
        command.give()
    if code is None:
        raise TimeoutError(f"the command did not end within {RUN_WITHIN_S:.0f} s")
    for rank in range(scene.bed.nodes.num):
        found = faults_in_attempts(scene.attempts(rank), steps=STEPS, struck_at=over_at, safe=safe)
        outcome.wrong += [f"worker {rank}: {each}" for each in found]
    outcome.redone = steps_redone(scene.attempts())
    outcome.standstill_s = standstill_s(scene.attempts(), struck_at)


def _await_step(scene: Scene) -> None:
    def reached() -> bool:
        if scene.command.running().poll() is not None:
            raise RuntimeError("the command ended before the fault")
        everyone = [scene.attempts(rank)[-1:] for rank in range(scene.bed.nodes.num)]
        return all(each and each[0].reached >= scene.planned.step for each in everyone)

    if not wait_until(reached, PATIENCE_S):
        raise TimeoutError(f"step {scene.planned.step} was not reached in {PATIENCE_S:.0f} s")
    time.sleep(scene.planned.delay_s)


def _compare(scene: Scene, outcome: Outcome, reference: str) -> None:
    other = faults_in_state(scene.run_url, reference, STEPS)
    outcome.bit_equal = not other
    outcome.wrong += other + faults_in_journal(scene.run_url, reference)
