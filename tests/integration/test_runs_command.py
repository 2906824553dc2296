"""`selfseg runs` tells how runs stand, in a folder and in a bucket, from a few objects of each."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from selfseg import storage
from selfseg.cli import main
from selfseg.contracts import FramePairs
from selfseg.errors import UserError
from selfseg.reporting import runs as reporting
from selfseg.reporting.runs import SILENCE_S, Overview, overview, state_of
from selfseg.training import attempts, run_folder, session
from selfseg.training.attempts import Attempt, Command
from selfseg.training.checkpoint import RunRecord
from selfseg.training.goodput import read_goodput
from selfseg.training.worker import AcceleratedWorker
from tests.integration.s3_events import noting
from tests.toy import Game, Listener, toy_batches, toy_plan

SETTINGS = {"loop": {"steps": 12}, "method": {"name": "game"}}


def claim(url: str) -> str:
    record = RunRecord(settings=SETTINGS, collection="c", manifest="0" * 64, ingest={})
    run_folder.claim(url, record, command="selfseg train game_cpu --collection c")
    return url


def train(
    url: str,
    *,
    began: float | None = None,
    until: int | None = None,
    failing_at: int | None = None,
    failure: str = "shard 7: damaged: ingest it again",
) -> None:
    """Train the game as the command's worker does: 12 steps, a checkpoint every 4."""

    def open_batches(step: int) -> Iterator[FramePairs]:
        for number, batch in enumerate(toy_batches(step), start=step):
            if number == failing_at:
                raise UserError(failure)
            yield batch

    plan = replace(toy_plan(claim(url)), until=until, launched=began)
    worker = AcceleratedWorker()
    session.run(plan, Game(), open_batches, worker=worker, audience=Listener())


def command(url: str, **how: Any) -> None:
    """Do the same as a command that says when it ended."""
    began = time.time()
    with attempts.command(url, began):
        train(url, began=began, **how)


def look(url: str, *, goodput: bool = False) -> Overview:
    (run,), notes = overview({"mine": url}, goodput=goodput)
    assert notes == []
    return run


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass for who looks."""

    def pass_by(seconds: float) -> None:
        now = time.time() + seconds
        monkeypatch.setattr(reporting.time, "time", lambda: now)

    return pass_by


def test_a_run_is_finished_stopped_failed_or_running(place, capsys):
    command(f"{place}/all/finished")
    command(f"{place}/all/deeper/paused", until=5)
    with pytest.raises(UserError):
        command(f"{place}/all/failed", failing_at=6)
    train(f"{place}/all/running", until=7)
    claim(f"{place}/all/begun")
    main(["runs", f"{place}/all", "--json"])
    found = {run["name"]: run for run in json.loads(capsys.readouterr().out)}
    assert {name: (run["state"], run["step"]) for name, run in found.items()} == {
        "begun": ("running", 0),
        "deeper/paused": ("stopped", 5),
        "failed": ("failed", 4),
        "finished": ("finished", 12),
        "running": ("running", 7),
    }
    assert found["failed"]["failure"] == "shard 7: damaged: ingest it again"
    assert {(run["recipe"], run["method"], run["steps"]) for run in found.values()} == {
        ("game_cpu", "game", 12)
    }
    main(["runs", f"{place}/all"])
    assert "failed: shard 7: damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "failure",
    [
        "[/__w/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer",
        "[enforce fail at alloc_cpu.cpp:117] err == 0",
        "loader.py:100: no memory",
    ],
)
def test_what_a_run_failed_of_is_told_as_it_was_written(tmp_path, capsys, failure):
    with pytest.raises(UserError):
        command(str(tmp_path / "failed"), failing_at=6, failure=failure)
    main(["runs", str(tmp_path)])
    assert failure.split()[0] in capsys.readouterr().out


def test_a_run_that_fell_silent_without_a_word_is_stopped(tmp_path, later):
    train(str(tmp_path), until=7)
    later(0.9 * SILENCE_S)
    assert look(str(tmp_path)).state == "running"
    later(1.1 * SILENCE_S + 60)
    assert look(str(tmp_path)).state == "stopped"


ATTEMPT = Attempt(2, "", launched=100.0, began=105.0, first_step=0, workers=1)


@pytest.mark.parametrize(
    ("command", "silent_s", "longest_step_s", "state"),
    [
        (None, 0.0, 0.0, "running"),
        (None, SILENCE_S + 31, 10.0, "stopped"),
        (None, SILENCE_S + 29, 10.0, "running"),  # its steps are long
        (Command(50.0, 90.0, "no disk"), 0.0, 0.0, "running"),  # that was the command before
        (Command(100.0, 190.0, "no disk"), 0.0, 0.0, "failed"),
        (Command(100.0, 190.0), 0.0, 0.0, "stopped"),
        (Command(200.0, 210.0, "no CPUs"), 0.0, 0.0, "failed"),  # before any worker began
    ],
)
def test_the_newest_command_decides_and_where_it_is_silent_the_time(
    command, silent_s, longest_step_s, state
):
    found, _ = state_of(
        (ATTEMPT, command), finished=False, silent_s=silent_s, longest_step_s=longest_step_s
    )
    assert found == state


def test_the_pace_is_that_of_the_newest_lines_and_redone_steps_do_not_count(tmp_path):
    url = claim(str(tmp_path))
    slow = {"wait_s": 3.0, "compute_s": 1.0, "checkpoint_s": 4.0}
    fast = {"wait_s": 0.0, "compute_s": 0.25, "checkpoint_s": 0.0}
    line = {"player": "guesser", "terms": {}}
    for first, costs in ((0, [slow, slow]), (2, [fast, fast, {**fast, "wait_s": 0.25}])):
        lines = [
            line | cost | {"step": step, "time": 1000.0 + step}
            for step, cost in enumerate(costs, first)
        ]
        name = f"metrics/rank_00000/{first:08d}.jsonl"
        text = "\n".join(map(json.dumps, lines))
        storage.write(storage.join(url, name), text.encode())
    run = look(url)
    assert run.step == 5
    assert run.steps_per_s == pytest.approx(3 / (3 * 0.25 + 0.25))
    attempts.write(url, replace(ATTEMPT, began=2000.0, first_step=2))
    assert look(url).step == 2  # from its newest checkpoint on, all is to be taken again


def test_goodput_is_the_ledgers_and_many_long_journals_are_read_when_asked_for(
    tmp_path, monkeypatch
):
    command(str(tmp_path))
    ledger = read_goodput(str(tmp_path))
    assert ledger is not None
    assert look(str(tmp_path)).goodput == ledger.share > 0
    monkeypatch.setattr(reporting, "AFFORDABLE_SEGMENTS", 0)
    assert look(str(tmp_path)).goodput is None
    assert look(str(tmp_path), goodput=True).goodput == ledger.share


def test_a_long_journal_costs_no_more_requests_than_a_short_one(prefix, monkeypatch):
    monkeypatch.setattr(reporting, "AFFORDABLE_SEGMENTS", 0)
    train(f"{prefix}/run", until=5)

    def requests() -> int:
        asked: list[str] = []
        with noting(prefix, "before-call.s3", lambda model, **_: asked.append(model.name)):
            look(f"{prefix}/run")
        return len(asked)

    short = requests()
    for step in range(5, 40):
        text = storage.read(f"{prefix}/run/metrics/rank_00000/00000004.jsonl")
        storage.write(f"{prefix}/run/metrics/rank_00000/{step:08d}.jsonl", text)
    assert requests() == short <= 10


def test_what_is_unreadable_among_runs_is_named_and_the_rest_is_told(place, capsys):
    train(f"{place}/whole", until=5)
    for name in ("other/run.json", "attempt/attempts/0001.json", "ended/commands/1000.000.json"):
        run, _, torn = name.partition("/")
        train(f"{place}/{run}", until=5)
        storage.write(f"{place}/{name}", b"{}" if torn == "run.json" else b'{"number": 1, "cau')
    train(f"{place}/lines", until=5)
    segment = f"{place}/lines/metrics/rank_00000/00000005.jsonl"
    storage.write(segment, b'{"step": 5, "pla')
    main(["runs", place, "--json"])
    shown = capsys.readouterr()
    assert [run["name"] for run in json.loads(shown.out)] == ["whole"]
    attempt, ended, lines, other = shown.err.splitlines()
    torn = f"{place}/attempt/attempts/0001.json: damaged: Invalid JSON: EOF while parsing"
    assert attempt.startswith(f"run attempt is unreadable: {torn}")
    assert attempt.endswith("; delete it: only the account of the run's time loses by that")
    assert ended.startswith(f"run ended is unreadable: {place}/ended/commands/1000.000.json: dam")
    assert lines.startswith(f"run lines is unreadable: {segment}: damaged: Unterminated string")
    assert other == f"run other is unreadable: {place}/other/run.json: not one of a run; left out"


def test_a_run_with_an_old_unreadable_segment_is_told_without_its_goodput(tmp_path, capsys):
    train(str(tmp_path / "mine"), until=5)
    train(str(tmp_path / "mine"))
    segment = tmp_path / "mine/metrics/rank_00000/00000001.jsonl"
    segment.write_text("[]")
    main(["runs", str(tmp_path), "--json"])
    shown = capsys.readouterr()
    (run,) = json.loads(shown.out)
    assert (run["step"], run["goodput"]) == (12, None)
    assert shown.err.startswith(f"run mine has an unreadable journal: {segment}: damaged: ")


def test_a_run_with_a_damaged_record_moves_it_aside_and_goes_on(tmp_path):
    url = str(tmp_path)
    for until in (3, 5):
        train(url, until=until)
    (tmp_path / "attempts/0001.json").write_text("{")
    train(url)
    assert [each.number for each in attempts.read_attempts(url)] == [2, 3]
    assert look(url, goodput=True).state == "finished"
