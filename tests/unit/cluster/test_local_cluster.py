import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from cluster import local_cluster

VARIABLES = {"RAY_ADDRESS": "127.0.0.1:1", "RAY_AUTH_TOKEN_PATH": "/nowhere/token"}


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a Prometheus on PATH that writes what it is told into this file, and stays."""
    said = tmp_path / "said"
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "prometheus"
    script.write_text(
        f'#!/bin/sh\necho $$ "$@" > {said}.part\nmv {said}.part {said}\nexec sleep 60'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return said


def test_prometheus_reads_the_clusters_list_listens_here_alone_and_ends(stub: Path, tmp_path: Path):
    with local_cluster.prometheus(tmp_path) as address:
        while not stub.exists():
            time.sleep(0.01)
        pid, *arguments = stub.read_text().split()
        assert psutil.pid_exists(int(pid))
    assert not psutil.pid_exists(int(pid))
    options = dict(word.removeprefix("--").split("=") for word in arguments)
    assert address == f"http://{options['web.listen-address']}"
    assert address.startswith("http://127.0.0.1:")
    (job,) = yaml.safe_load(Path(options["config.file"]).read_text())["scrape_configs"]
    assert job["file_sd_configs"][0]["files"] == [str(tmp_path / local_cluster.DISCOVERY)]
    assert Path(options["storage.tsdb.path"]).parent == tmp_path


def test_a_command_has_the_variables_that_reach_the_cluster_and_the_script_ends_as_it_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    served: list[tuple[int, int, int | None]] = []

    @contextmanager
    def cluster(nodes: int, cpus: int, port: int | None) -> Iterator[dict[str, str]]:
        served.append((nodes, cpus, port))
        yield VARIABLES

    said = tmp_path / "said"
    command = f'printf %s "$RAY_ADDRESS" > {said}; exit 3'
    monkeypatch.setattr(local_cluster, "local_cluster", cluster)
    monkeypatch.setattr(local_cluster.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["x", "--nodes", "2", "--run", "--", "sh", "-c", command])
    with pytest.raises(SystemExit) as ended:
        local_cluster.main()
    assert ended.value.code == 3
    assert said.read_text() == VARIABLES["RAY_ADDRESS"]
    assert served == [(2, 1, None)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--run"], "--run and a command after -- belong together"),
        (["--", "true"], "--run and a command after -- belong together"),
        (["--run", "--", "no-such-program"], "no-such-program: no such command"),
        (["--nodes", "0"], "--nodes and --cpus: at least one"),
        (["--prometheus"], "--prometheus: not installed"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(sys, "argv", ["local_cluster.py", *arguments])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="2"):
        local_cluster.main()
    assert says in capsys.readouterr().err


def test_a_dashboard_that_does_not_come_up_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_cluster, "READY_WITHIN_S", -1)
    with pytest.raises(SystemExit, match=r"the cluster's dashboard did not come up: .*refused"):
        local_cluster.wait_for_dashboard(local_cluster.free_port(), "token")


def test_the_tokens_folder_goes_and_none_but_its_owner_reads_the_token():
    with local_cluster.cluster_folder() as folder:
        assert (folder / "token").stat().st_mode & 0o777 == 0o600
        assert len((folder / "token").read_text()) == 64
    assert not folder.exists()
