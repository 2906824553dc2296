"""The journal holds each step once, however often a run was stopped."""

import torch

from selfseg.training import journal
from selfseg.training.journal import Journal, read_lines
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
