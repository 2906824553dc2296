"""A sweep on Ray: killed in the middle, its own failures and all, it ends up whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfseg.sweep.results import read_result
from tests.distributed.ray_sweep import BROKEN, log_of
from tests.unit.sweep.toy_sweep import trials_of

# Two sweeps, of four processes a trial: minutes where others need the machine as well.
pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]


def attempts(output: Path) -> dict[str, int]:
    return {
        trial.name: len(log_of(trial).read_text().splitlines()) if log_of(trial).exists() else 0
        for trial in trials_of(output)[:4]
    }


def over(output: Path) -> set[str]:
    found = {trial.name: read_result(trial) for trial in trials_of(output)[:4]}
    return {name for name, result in found.items() if result is not None and result.over}


def test_a_killed_sweep_goes_on_with_what_is_left_and_a_broken_trial_costs_its_retries_alone(
    tmp_path,
):
    command = [sys.executable, "-m", "tests.distributed.ray_sweep", str(tmp_path)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not over(tmp_path):
        assert first.poll() is None
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done, before = over(tmp_path), attempts(tmp_path)
    assert len(done) < 3

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    whole = {trial.name for trial in trials_of(tmp_path)[:4]} - {BROKEN}
    assert over(tmp_path) == whole
    begun = {name: after - before[name] for name, after in attempts(tmp_path).items()}
    # Those that were over are not run again, the others once, and the broken one twice.
    assert begun == {name: 0 if name in done else 1 for name in whole} | {BROKEN: 2}
    assert f"{[(BROKEN, 'ZeroDivisionError a bug')]}" in again.stdout
