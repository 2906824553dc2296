import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package

from cluster import spot_notice
from cluster.await_nodes import lacking

ROOT = Path(__file__).parents[3]
UPLOAD_LIMIT = 3_000_000
NOTICE = '{"action": "terminate", "time": "2026-01-01T00:02:00Z"}'


class Metadata(BaseHTTPRequestHandler):
    """EC2's metadata service, version 2: no answer without the token it gave."""

    notice: str | None = None

    def do_PUT(self) -> None:
        self._answer(200, "secret")

    def do_GET(self) -> None:
        if self.headers["X-aws-ec2-metadata-token"] != "secret":
            self._answer(401, "")
        elif self.path != "/latest/meta-data/spot/instance-action" or self.notice is None:
            self._answer(404, "")
        else:
            self._answer(200, self.notice)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Metadata, "notice", None)
    with HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/latest"
        server.shutdown()
        thread.join()


def test_an_instance_that_may_stay_has_no_notice(metadata: str):
    assert spot_notice.notice(metadata) is None


def test_a_notice_is_what_ec2_says(metadata: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Metadata, "notice", NOTICE)
    assert spot_notice.notice(metadata) == NOTICE


def test_ray_hears_of_a_notice_even_if_ec2_did_not_answer_at_first(
    monkeypatch: pytest.MonkeyPatch,
):
    answers = iter([TimeoutError("busy"), None, NOTICE])
    told: list[str] = []

    def answer() -> str | None:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(spot_notice, "notice", answer)
    monkeypatch.setattr(spot_notice, "tell_ray", told.append)
    monkeypatch.setattr(spot_notice, "LOOK_S", 0)
    spot_notice.main()
    assert told == [f"spot: {NOTICE}"]


@pytest.mark.parametrize(
    "failure",
    [subprocess.CalledProcessError(1, "ray drain-node"), FileNotFoundError("no such file: 'ray'")],
)
def test_a_notice_that_ray_did_not_hear_is_told_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []

    def tell(reason: str) -> None:
        told.append(reason)
        if len(told) == 1:
            raise failure

    monkeypatch.setattr(spot_notice, "notice", lambda: NOTICE)
    monkeypatch.setattr(spot_notice, "tell_ray", tell)
    monkeypatch.setattr(spot_notice, "LOOK_S", 0)
    spot_notice.main()
    assert told == [f"spot: {NOTICE}"] * 2


def test_what_a_cluster_lacks_is_named_and_nothing_if_it_has_enough():
    want = {"CPU": 4, "GPU": 4}
    assert lacking({"CPU": 8.0, "GPU": 3.0}, want) == "3 of 4 GPUs"
    assert lacking({}, want) == "0 of 4 CPUs, 0 of 4 GPUs"
    assert not lacking({"CPU": 4.0, "GPU": 4.0}, want)


def test_a_job_carries_the_program_and_little_else(tmp_path: Path):
    package = tmp_path / "package.zip"
    create_package(str(ROOT), package, include_gitignore=True)
    names = ZipFile(package).namelist()
    assert package.stat().st_size < UPLOAD_LIMIT
    assert "selfseg/recipes/dystab_bootstrap.toml" in names
    assert "cluster/await_nodes.py" in names
    assert {name.partition("/")[0] for name in names}.isdisjoint({".git", ".venv", "demo", "tests"})


def test_a_job_that_is_stopped_has_longer_than_rays_three_seconds():
    environment = yaml.safe_load((ROOT / "cluster/runtime_env.yaml").read_text())
    job = yaml.safe_load((ROOT / "cluster/kuberay/rayjob.yaml").read_text())["spec"]
    (variables,) = yaml.safe_load(job["runtimeEnvYAML"]).values()
    assert environment["env_vars"] == variables
    assert int(variables["RAY_JOB_STOP_WAIT_TIME_S"]) > 3
    assert not re.search("KEY|TOKEN|SECRET", str(environment))
