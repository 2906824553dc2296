"""Runs on Ray: as good as bare processes, and indifferent to being killed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
import pytest
import ray
import torch

from selfseg.errors import UsageError, UserError
from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import launch
from selfseg.training import checkpoint
from selfseg.training.attempts import read_attempts
from selfseg.training.goodput import read_goodput
from tests.distributed.ray_game import STEP_S, STEPS, plan_of, program
from tests.distributed.replicas import in_group, train_replica

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).parents[2]


SECRETS = {"AWS_SECRET_ACCESS_KEY": "hunter2-aws-secret", "WANDB_API_KEY": "hunter2-wandb-key"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "500")
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        connect(2)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Weights that two bare processes arrive at."""
    folder = tmp_path_factory.mktemp("bare")
    plan = plan_of(str(folder / "run"))
    in_group(train_replica, folder / "meet", 2, plan=plan, dropout=0.5, descent=False)
    return final_weights(folder / "run")


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(str(run), STEPS))[0].weights)


def assert_bit_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def train(run: Path, fail: str = "") -> None:
    settings = {"run_url": str(run), "fail": fail, "launched": time.time()}
    launch(program, settings, workers=2, hang_timeout_s=600)


def seen_by_prometheus(names: set[str], lines: list[str]) -> threading.Thread:
    """Gather the node's metrics until each of `names` was among them."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def ask() -> None:
        while names - {line.partition("{")[0] for line in lines}:
            with urllib.request.urlopen(url, timeout=10) as answer:
                lines.extend(answer.read().decode().splitlines())
            time.sleep(0.2)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread


def when_committed(run: Path, num: int, action: Callable[[], None]) -> threading.Thread:
    """Do something as soon as the run has `num` checkpoints."""

    def wait() -> None:
        while len(checkpoint.committed(str(run))) < num:
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def kill_worker(run: Path, rank: int) -> None:
    os.kill(int((run.with_suffix(".pids") / str(rank)).read_text()), signal.SIGKILL)


def test_a_killed_worker_changes_no_bit_and_is_accounted_for(
    cluster, uninterrupted, tmp_path, capfd
):
    run = tmp_path / "run"
    killer = when_committed(run, 2, lambda: kill_worker(run, rank=1))
    shown: list[str] = []
    wanted = {"ray_selfseg_step", "ray_selfseg_checkpoints_total", "ray_selfseg_restarts_total"}
    prometheus = seen_by_prometheus(wanted, shown)
    began = time.time()
    train(run)
    took_s = time.time() - began
    assert not killer.is_alive()
    told = capfd.readouterr().out
    assert "starting again from the newest checkpoint" in told
    assert "going on from step" in told
    assert_bit_equal(final_weights(run), uninterrupted)

    first, second = read_attempts(str(run))
    assert (first.first_step, first.cause) == (0, "the command")
    assert second.first_step >= 10
    assert second.cause.startswith("worker ")  # the lost one, or one that noticed it first
    ledger = read_goodput(str(run))
    assert ledger is not None
    assert ledger.productive_s + ledger.wait_s > (STEPS - 2) * STEP_S
    assert ledger.recovery_s > 0
    # Unaccounted for is only how long Ray takes to end its workers after their last word.
    assert took_s - 3 < ledger.total_s < took_s
    assert ledger.idle_s == 0
    prometheus.join(10)
    assert not prometheus.is_alive()
    assert any(line.startswith("ray_selfseg_step{") and 'run="run"' in line for line in shown)


def test_a_mistake_that_a_worker_finds_is_raised_here_in_its_own_words(cluster, tmp_path):
    with pytest.raises(UserError, match=r"^shard 7: damaged: ingest it again$"):
        train(tmp_path / "run", fail="user")


def test_more_workers_than_cpus_are_refused_before_anything_starts(cluster, tmp_path):
    with pytest.raises(UsageError, match=r"^--workers 99: the cluster has \d+ CPUs and each"):
        launch(program, {}, workers=99, hang_timeout_s=600)


def test_it_listens_on_this_machine_alone(cluster):
    """Its processes are this one's children, or their children."""
    listening: list[str] = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # some live shortly
            opened = process.net_connections("inet")
            listening += [each.laddr.ip for each in opened if each.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_who_lacks_the_token_is_refused(cluster):
    """Asks as Ray's own client does, for the list of nodes."""
    address = ray.get_runtime_context().gcs_address
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
        for token in ("", "0" * 64):
            with pytest.raises(grpc.RpcError) as caught:
                ask(b"", timeout=20, metadata=(("authorization", f"Bearer {token}"),))
            assert "UNAUTHENTICATED" in str(caught.value)
        own = os.environ["RAY_AUTH_TOKEN"]
        assert ask(b"", timeout=20, metadata=(("authorization", f"Bearer {own}"),))


def test_no_secret_is_in_what_ray_has_written(cluster):
    """Its logs, notes and state are those of the tests above as well."""
    session = Path(ray.nodes()[0]["ObjectStoreSocketName"]).parents[1]
    secrets = [value.encode() for value in (*SECRETS.values(), os.environ["RAY_AUTH_TOKEN"])]
    files = [path for path in session.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files for secret in secrets if secret in path.read_bytes()] == []


@pytest.mark.slow
def test_a_failure_that_keeps_coming_back_ends_the_run_with_the_workers_traceback(
    cluster, tmp_path
):
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        train(tmp_path / "run", fail="bug")
    assert "ray_game.py" in caught.value.__notes__[0]


@pytest.mark.slow
def test_a_killed_driver_changes_no_bit(uninterrupted, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tests.distributed.ray_game", str(run), "2"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    killer = when_committed(run, 2, first.kill)
    assert first.wait() == -signal.SIGKILL
    killer.join()
    left = checkpoint.committed(str(run))[-1]
    assert not left.endswith(str(STEPS))
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "going on from step" in again.stdout
    assert_bit_equal(final_weights(run), uninterrupted)


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_goes_on(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tests.distributed.ray_game", str(run), "2"]
    first = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    when_committed(run, 1, lambda: first.send_signal(signal.SIGINT))
    _, errors = first.communicate()
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    found, notes = checkpoint.newest_whole(str(run))
    assert found is not None
    assert notes == []


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_and_sigterm_stops_the_run_at_a_step_it_goes_on_from(
    uninterrupted, tmp_path
):
    """Worker 1 hangs in step 12, once: a third checkpoint is there only after a restart."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tests.distributed.ray_game", str(run), "2", "hang"]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    when_committed(run, 3, first.terminate)
    shown, _ = first.communicate()
    assert first.returncode == 128 + signal.SIGTERM
    assert "worker 1 has been in `next batch` for" in shown
    assert "worker 0 waits in `gradient averaging`" in shown
    saved = re.search(r"saved at step (\d+)", shown)
    assert saved is not None
    left = checkpoint.step_url(str(run), int(saved[1]))
    assert checkpoint.newest_whole(str(run)) == (left, [])
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"going on from step {int(left[-8:])}" in again.stdout
    assert_bit_equal(final_weights(run), uninterrupted)
