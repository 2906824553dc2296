"""A run with secrets all around it: none is in its folder, its report, its notes, its errors."""

import json
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.cli import main
from selfseg.errors import UserError
from selfseg.evaluation.protocols import STILLS
from selfseg.evaluation.scores import Scores, average
from selfseg.prediction.baselines import SUPERVISED
from selfseg.prediction.benchmarks import Benchmark
from selfseg.prediction.evaluate import record
from selfseg.prediction.subjects import Subject
from selfseg.reporting.report import write_report
from selfseg.runtime import ray_train
from selfseg.training.wandb_log import WandbLog
from tests.exact_collection import write_collection
from tests.integration.test_grown_run import CONFIG, FEW, in_this_process

__all__ = ["in_this_process"]

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "hunter2-secret-key",
    "AWS_SESSION_TOKEN": "hunter2-session",
    "RAY_AUTH_TOKEN": "hunter2-ray-token",
    "WANDB_API_KEY": "hunter2-wandb-key",
}
PRESIGNED = "https://me:hunter2@host/w.pt?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2"
MARK = b"hunter2"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")


def telling(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if MARK in path.read_bytes()]


def test_neither_the_folder_of_a_run_nor_its_report_holds_a_secret(tmp_path, in_this_process):
    collection, run = str(tmp_path / "collection"), tmp_path / "run"
    write_collection(collection, FEW, gaps=(1,))
    said = [f"{name}={value}" for name, value in SECRETS.items()]
    command = " ".join([*said, "selfseg train recipe --set", f"start.weights={PRESIGNED}"])
    ray_train.train(CONFIG, collection_url=collection, run_url=str(run), command=command)
    write_report(str(run))
    assert telling(run) == []
    assert "X-Amz-Signature=***" in json.loads((run / "run.json").read_text())["command"]
    assert MARK.decode() not in "".join(in_this_process.notes())


@pytest.mark.parametrize("url", [PRESIGNED, PRESIGNED.rpartition("?")[0], "s3://me:hunter2@b/w"])
@pytest.mark.parametrize("setting", ["method.perceptual.weights", "start.inpainter"])
def test_a_setting_that_lets_in_whoever_reads_it_is_refused_before_anything_is_kept(
    tmp_path, monkeypatch, capsys, setting, url
):
    monkeypatch.chdir(tmp_path)
    where = ["--collection", "collection", "--run", "run"]
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["train", "proposal", *where, "--set", f"{setting}={url}"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"selfseg: setting: {setting}: this URL holds a password or a signature")
    assert MARK.decode() not in line
    assert not list(tmp_path.iterdir())


def test_what_a_supervised_baseline_learned_is_named_without_its_signature():
    subject = Subject(baseline=SUPERVISED, weights=PRESIGNED)
    benchmark = Benchmark("stills", (), STILLS)
    scores = Scores("mask-rcnn", STILLS, (average("a", [dict.fromkeys(STILLS.labels, 0.5)]),))
    assert MARK.decode() not in json.dumps(record(subject, benchmark, scores))


def test_curves_for_weights_and_biases_hold_no_secret(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setattr("sys.argv", ["selfseg", "train", "--set", f"start.weights={PRESIGNED}"])
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_API_KEY", "hunter2-" + "0" * 40)
    log = WandbLog(str(tmp_path), "offline", {"seed": 0})
    log.add(1, {"loss": 0.5})
    log.close()
    assert telling(tmp_path) == []


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://me:hunter2@127.0.0.1:9", "s3://bucket/run"),
        ("", PRESIGNED),
    ],
)
def test_no_line_of_an_error_holds_a_secret(monkeypatch, endpoint, url):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(UserError) as caught:
        storage.read(url)
    assert MARK.decode() not in str(caught.value)
    assert "***" in str(caught.value)
