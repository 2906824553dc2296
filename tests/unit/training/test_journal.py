"""The journal holds each step once, however often a run was stopped."""

from types import SimpleNamespace

import torch

from selfseg import storage
from selfseg.training import journal
from selfseg.training.journal import Journal, read_lines, write_up
from selfseg.training.loop import Step


def step(number: int, loss: float = 1.0) -> Step:
    return Step(number, "phi", {"loss": torch.tensor(loss)}, 0.25, 0.5, forward_s=0.2)


def write(run: str, numbers: range, *, loss: float, rank: int = 0) -> Journal:
    lines = Journal(run, rank, numbers.start)
    for number in numbers:
        lines.add(step(number, loss), checkpoint_s=0.0)
    lines.flush()
    return lines


def test_a_line_has_the_step_its_terms_and_what_it_cost(tmp_path):
    lines = Journal(str(tmp_path), 3, 0)
    lines.add(step(0, 1.5), checkpoint_s=0.125)
    lines.flush()
    [line] = read_lines(str(tmp_path))
    assert line.pop("time") > 0
    assert line == {
        "step": 0,
        "player": "phi",
        "terms": {"loss": 1.5},
        "wait_s": 0.25,
        "compute_s": 0.5,
        "forward_s": 0.2,
        "checkpoint_s": 0.125,
        "rank": 3,
    }
    assert (tmp_path / "metrics/rank_00003/00000000.jsonl").is_file()


def test_steps_taken_again_replace_those_of_the_attempt_that_was_stopped(tmp_path):
    run = str(tmp_path)
    write(run, range(8), loss=1.0)
    write(run, range(8, 12), loss=1.0)
    write(run, range(5, 7), loss=2.0)  # from a checkpoint at 5; stopped again after 6
    lines = read_lines(run)
    assert [(line["step"], line["terms"]["loss"]) for line in lines] == [
        (0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (5, 2.0), (6, 2.0)
    ]  # fmt: skip


def test_workers_do_not_touch_each_others_lines(tmp_path):
    run = str(tmp_path)
    write(run, range(4), loss=1.0, rank=0)
    write(run, range(4), loss=2.0, rank=1)
    write(run, range(2, 4), loss=3.0, rank=0)
    losses = [(line["rank"], line["terms"]["loss"]) for line in read_lines(run)]
    assert losses == [(0, 1.0), (0, 1.0), (0, 3.0), (0, 3.0)] + [(1, 2.0)] * 4


def test_lines_are_written_while_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FLUSH_S", 0.0)
    lines = Journal(str(tmp_path), 0, 0)
    lines.add(step(0), checkpoint_s=0.0)
    assert [line["step"] for line in read_lines(str(tmp_path))] == [0]


def test_lines_that_a_store_did_not_take_can_be_written_by_another(tmp_path, monkeypatch):
    run = str(tmp_path)
    with monkeypatch.context() as outage:
        outage.setattr(storage, "is_waiting", lambda: True)
        lines = write(run, range(4, 7), loss=1.0, rank=1)
        assert read_lines(run) == []
        handed = lines.unwritten()
    write_up(handed)
    found = read_lines(run)
    assert [(line["rank"], line["step"]) for line in found] == [(1, 4), (1, 5), (1, 6)]
    lines.flush()
    assert read_lines(run) == found
    assert lines.unwritten() == ""


def test_of_lines_that_two_write_the_most_stay(tmp_path, monkeypatch):
    """The worker may have gone on; before, an answer may have been lost that said it wrote."""
    run = str(tmp_path)
    with monkeypatch.context() as outage:
        outage.setattr(storage, "is_waiting", lambda: True)
        lines = write(run, range(2), loss=1.0)
        lost = lines.unwritten()
        for number in (2, 3):
            lines.add(step(number), checkpoint_s=0.0)
        handed = lines.unwritten()
    for told, steps in ((lost, 2), (handed, 4), (lost, 4)):
        write_up(told)
        assert [line["step"] for line in read_lines(run)] == list(range(steps))
    lines.add(step(4), checkpoint_s=0.0)
    lines.flush()
    write_up(handed)
    assert [line["step"] for line in read_lines(run)] == list(range(5))


def test_a_store_that_does_not_answer_is_asked_ever_more_seldom_until_it_does(
    tmp_path, monkeypatch
):
    """To ask costs training seconds; a line is added every second."""
    now, asked, away = [0.0], [], [True]
    write = storage.write

    def ask(url: str, data: bytes) -> None:
        asked.append(now[0])
        if away[0]:
            raise storage.Unreachable(url)
        write(url, data)

    monkeypatch.setattr(storage, "write", ask)
    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    monkeypatch.setattr(journal, "time", clock)
    lines = Journal(str(tmp_path), 0, 0)
    for number in range(400):
        now[0] += 1
        away[0] = number < 200
        lines.add(step(number), checkpoint_s=0.0)
    assert asked[:4] == [1, 42, 123, 284]
    assert asked[4:] == [305, 326, 347, 368, 389]
    assert len(read_lines(str(tmp_path))) == 389
