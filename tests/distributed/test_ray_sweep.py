"""A sweep on Ray: killed in the middle, its own failures and all, it ends up whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfseg.sweep.plan import Trial
from selfseg.sweep.results import read_results
from tests.distributed.ray_sweep import BROKEN, log_of, swept

# Two sweeps, of four processes a trial: minutes where others need the machine as well.
pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def steps_tried(trials: list[Trial]) -> dict[str, list[str]]:
    return {
        trial.name: log_of(trial).read_text().splitlines() if log_of(trial).exists() else []
        for trial in trials
    }


def attempts(trials: list[Trial]) -> dict[str, int]:
    return {name: len(steps) for name, steps in steps_tried(trials).items()}


def over(trials: list[Trial]) -> set[str]:
    return {name for name, result in read_results(trials).items() if result.over}


def rungs_scored(trials: list[Trial]) -> dict[str, set[str]]:
    return {name: {*map(str, result.rungs)} for name, result in read_results(trials).items()}


def scores(output: Path) -> list[Path]:
    return list(output.glob("trials/*/result.json"))


def kill_at_the_first_score(command: list[str], output: Path) -> None:
    sweep = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not scores(output):
        assert sweep.poll() is None
        time.sleep(0.1)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    time.sleep(2)  # Ray's workers outlive their driver for a moment


def test_a_killed_sweep_goes_on_with_what_is_left_and_a_broken_trial_costs_its_retries_alone(
    tmp_path,
):
    command = [sys.executable, "-m", "tests.distributed.ray_sweep", str(tmp_path)]
    trials = swept(tmp_path, "grid")
    kill_at_the_first_score(command, tmp_path)
    done, before = over(trials), attempts(trials)
    assert len(done) < 2

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    whole = {trial.name for trial in trials} - {BROKEN}
    assert over(trials) == whole
    begun = {name: after - before[name] for name, after in attempts(trials).items()}
    # Those that were over are not run again, the others once, and the broken one twice.
    assert begun == {name: 0 if name in done else 1 for name in whole} | {BROKEN: 2}
    assert f"{[(BROKEN, 'ZeroDivisionError a bug')]}" in again.stdout


def test_in_rungs_the_best_goes_on_to_its_end_also_after_a_kill_and_the_others_are_stopped(
    tmp_path,
):
    """Of three that do not fail one goes on from step 2 to 4 and to 9: it has the best score."""
    command = [sys.executable, "-m", "tests.distributed.ray_sweep", str(tmp_path), "asha"]
    trials = swept(tmp_path, "asha")
    first, broken, best, other = (trial.name for trial in trials)
    assert broken == BROKEN
    kill_at_the_first_score(command, tmp_path)
    known, before = rungs_scored(trials), steps_tried(trials)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"{[(BROKEN, 'ZeroDivisionError a bug')]}" in ended.stdout
    after = steps_tried(trials)
    again = {name: steps[len(before[name]) :] for name, steps in after.items()}
    assert again[broken] == ["2", "2"]
    assert known
    for name, rungs in known.items():
        assert not rungs & set(again[name])
    # What was under way at the kill is there twice.
    assert list(dict.fromkeys(after[best])) == ["2", "4", "9"]
    # Of two that come first the better one goes on, while the others are under way.
    assert "9" not in after[first] + after[other]
    statuses = {name: result.status for name, result in read_results(trials).items()}
    assert statuses == {first: "stopped", best: "finished", other: "stopped"}
