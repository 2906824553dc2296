"""Long videos on Ray: cut anywhere, or killed at any time, they make the same collection."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from rich.console import Console

from selfseg.data.format.manifest import load_manifest
from selfseg.errors import UserError
from selfseg.runtime.cluster import connect
from selfseg.runtime.ingest import ingest
from tests.distributed.ray_ingest import job, once_spooled
from tests.synthetic import moving_disc, write_frames, write_video

pytestmark = pytest.mark.distributed

ROOT = Path(__file__).parents[2]
QUIET = Console(quiet=True)
AT_ONCE = 1000
"""Longer than any video here."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.shutdown()
    connect(2)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "long.mp4", moving_disc(70, velocity=(0.4, 0.2), seed=1).frames)
    write_frames(folder / "frames", moving_disc(37, velocity=(0.5, 0), seed=2).frames)
    write_video(folder / "short.avi", moving_disc(5, seed=3).frames)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    cluster: None, videos: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What the videos make, each a task of its own."""
    output = tmp_path_factory.mktemp("at-once")
    ingest(job(videos, str(output), AT_ONCE), QUIET)
    return contents(output)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def environment_without_ray() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


@pytest.mark.parametrize("stretch_frames", [8, 32])
def test_where_videos_are_cut_changes_no_byte(
    cluster, videos, undisturbed, tmp_path, stretch_frames
):
    ingest(job(videos, str(tmp_path), stretch_frames), QUIET)
    assert contents(tmp_path) == undisturbed


def test_a_killed_worker_changes_no_byte(cluster, videos, undisturbed, tmp_path):
    killed: list[int] = []

    def kill_one() -> None:
        while not killed:
            for process in psutil.Process().children(recursive=True):
                if "ray::call" in process.cmdline():
                    process.kill()
                    killed.append(process.pid)
                    break

    killer = once_spooled(tmp_path, 4, kill_one)
    ingest(job(videos, str(tmp_path), 8), QUIET)
    killer.join(10)
    assert killed
    assert contents(tmp_path) == undisturbed


def test_a_killed_driver_changes_no_byte_and_what_was_spooled_is_kept(
    cluster, videos, undisturbed, tmp_path
):
    command = [sys.executable, "-m", "tests.distributed.ray_ingest", str(videos), str(tmp_path)]
    with subprocess.Popen([*command, "8"], cwd=ROOT, env=environment_without_ray()) as first:
        killer = once_spooled(tmp_path, 4, first.kill)
        assert first.wait() == -signal.SIGKILL
        killer.join()
    assert not (tmp_path / "LATEST").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("spool/*.json")}
    kept: dict[Path, int] = {}

    def look() -> None:
        kept.update({path: path.stat().st_mtime_ns for path in before})

    looker = once_spooled(tmp_path, len(before) + 2, look)
    ingest(job(videos, str(tmp_path), 8), QUIET)
    looker.join()
    assert kept == before
    assert contents(tmp_path) == undisturbed


def test_a_driver_killed_between_its_manifest_and_the_pointer_to_it_changes_no_byte(
    cluster, videos, undisturbed, tmp_path
):
    program = (
        "import os, signal; from selfseg.data.format import manifest; "
        "manifest.point_to = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        "from tests.distributed.ray_ingest import main; main()"
    )
    command = [sys.executable, "-c", program, str(videos), str(tmp_path), "32"]
    killed = subprocess.run(command, cwd=ROOT, env=environment_without_ray(), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [
        name for name in undisturbed if name.startswith("manifest-")
    ]
    assert list(tmp_path.glob("spool/*.json"))
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shards/*")}
    ingest(job(videos, str(tmp_path), 32), QUIET)
    assert contents(tmp_path) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


@pytest.mark.slow
def test_a_lost_node_changes_no_byte(undisturbed, videos, tmp_path):
    command = [sys.executable, "-m", "tests.distributed.ray_ingest", str(videos), str(tmp_path)]
    token = tmp_path.with_suffix(".token")
    token.write_text(secrets.token_hex(32))
    # Ray reads them when it is imported; see `cluster.local_cluster`.
    environment = environment_without_ray() | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    subprocess.run([*command, "8", "lose-a-node"], cwd=ROOT, env=environment, check=True)
    assert contents(tmp_path) == undisturbed


def test_a_long_video_is_left_out_for_the_first_thing_that_is_wrong_with_it(
    cluster, videos, tmp_path
):
    folder = tmp_path / "videos"
    write_frames(folder / "torn", np.zeros((60, 48, 64, 3), np.uint8))
    for number in (50, 33, 21):
        (folder / "torn" / f"{number:05d}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"torn: 00021\.png is not an image"):
        ingest(job(folder, str(tmp_path / "none"), 8), QUIET)
    write_video(folder / "good.mp4", moving_disc(20).frames)
    ingest(job(folder, str(tmp_path / "c"), 8), QUIET)
    manifest = load_manifest(str(tmp_path / "c"))
    assert [(video.name, video.frames) for video in manifest.videos] == [("good", 20)]
    assert [video.reason for video in manifest.skipped] == [
        "00021.png is not an image, or a damaged one"
    ]
