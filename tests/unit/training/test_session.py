"""A whole run in one process: it learns, it saves, it resumes bit for bit, it refuses."""

import json
import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from selfseg import storage
from selfseg.contracts import FramePairs, Phase
from selfseg.errors import UsageError, UserError
from selfseg.training import attempts, checkpoint, journal, session
from selfseg.training.checkpoint import RunRecord, TrainingState
from selfseg.training.journal import read_lines
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker
from tests.toy import Game, Listener, toy_batches, toy_batches_until, toy_plan


def run(
    plan: Plan, *, game: Game | None = None, stop_before: int | None = None, **options: Any
) -> Listener:
    """Train the game; with `stop_before`, break down while fetching that step's batch."""

    open_batches, listener = toy_batches_until(stop_before), Listener()
    worker = AcceleratedWorker()
    session.run(plan, game or Game(), open_batches, worker=worker, audience=listener, **options)
    return listener


def weights(plan: Plan, step: int = 12) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(plan.run_url, step))[0].weights)


def assert_bit_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("stop_before", [1, 4, 5, 7, 11])
def test_stopped_anywhere_it_goes_on_bit_for_bit(tmp_path, stop_before):
    whole, broken = (toy_plan(tmp_path / name, average=0.9) for name in ("whole", "broken"))
    run(whole, game=Game(dropout=0.5))
    with pytest.raises(ConnectionAbortedError):
        run(broken, game=Game(dropout=0.5), stop_before=stop_before)
    run(broken, game=Game(dropout=0.5))
    assert_bit_equal(weights(whole), weights(broken))
    averages = [
        checkpoint.load(checkpoint.step_url(plan.run_url, 12))[0].average
        for plan in (whole, broken)
    ]
    assert averages[0]
    assert averages[1]
    assert_bit_equal(dict(averages[0]), dict(averages[1]))


def test_paused_at_a_step_it_has_a_checkpoint_there_and_goes_on_bit_for_bit(tmp_path):
    """A cosine knows where the run ends: paused at 5 of 12, its rates are those of 12 steps."""
    whole, paused = (toy_plan(tmp_path / name, schedule="cosine") for name in ("whole", "paused"))
    run(whole)
    run(replace(paused, until=5))
    assert checkpoint.resolve(paused.run_url) == checkpoint.step_url(paused.run_url, 5)
    run(replace(paused, until=5))
    assert [line["step"] for line in read_lines(paused.run_url)] == list(range(5))
    run(paused)
    assert_bit_equal(weights(whole), weights(paused))


def test_the_seed_decides_what_dropout_drops(tmp_path):
    plans = [toy_plan(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    for plan in plans:
        run(plan, game=Game(dropout=0.5))
    name = "guesser.0.weight"
    assert not torch.equal(weights(plans[0])[name], weights(plans[1])[name])


def test_it_learns(tmp_path):
    plan = toy_plan(tmp_path, steps=60, checkpoint_every=60)
    run(plan)
    errors = [line["terms"]["error"] for line in read_lines(plan.run_url)]
    assert sum(errors[-10:]) < 0.5 * sum(errors[:10])


def test_the_newest_checkpoints_are_kept(tmp_path):
    plan = toy_plan(tmp_path, steps=20, keep_checkpoints=2)
    assert run(plan).checkpoints == [4, 8, 12, 16, 20]
    kept = [url.rsplit("/", 1)[1] for url in checkpoint.committed(plan.run_url)]
    assert kept == ["step_00000016", "step_00000020"]


def test_what_scored_best_is_kept_also_where_the_run_was_only_stopped(tmp_path):
    plan = toy_plan(tmp_path, steps=20, keep_checkpoints=1)
    run(replace(plan, until=5))
    run(plan, best=lambda: {4, 5})
    kept = [checkpoint.step_url(plan.run_url, step) for step in (4, 5, 20)]
    assert checkpoint.committed(plan.run_url) == kept


def test_each_phase_ends_in_a_checkpoint_and_those_that_complete_a_round_are_kept(tmp_path):
    phases = (Phase("a", 0, 3, completes=0), Phase("b", 3, 6), Phase("c", 6, 10, completes=1))
    plan = toy_plan(tmp_path, steps=20, keep_checkpoints=2)
    assert run(plan, game=Game(phases=phases)).checkpoints == [3, 4, 6, 8, 10, 12, 16, 20]
    kept = [url.rsplit("/", 1)[1] for url in checkpoint.committed(plan.run_url)]
    assert kept == [f"step_{step:08d}" for step in (3, 10, 16, 20)]


def test_a_learning_rate_runs_through_its_schedule_once_in_each_phase(tmp_path):
    """With plain descent a step is as long as the rate: 0 at a cosine's end, full at its start."""
    phases = (Phase("a", 0, 4), Phase("b", 4, 12, rate=0.5))
    rates = []

    class Watched(SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    game = Game(phases=phases)
    plan = toy_plan(tmp_path, learning_rate=0.1, schedule="cosine")
    optimisers: dict[str, Optimizer] = {
        name: Watched(each.parameters(), 1.0) for name, each in game.players.items()
    }
    session.run(
        plan,
        game,
        toy_batches,
        worker=AcceleratedWorker(),
        audience=Listener(),
        optimisers=optimisers,
    )
    first = [0.05 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    second = [0.5 * 0.05 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert rates == pytest.approx(first + second)


def test_an_encoder_learns_at_its_share_of_the_rate(tmp_path):
    """Adam's first step is as long as the rate, whatever the gradient."""
    game = Game()
    guesser = game.players["guesser"]
    assert isinstance(guesser, nn.Sequential)
    game.players["guesser"] = nn.Sequential(OrderedDict(encoder=guesser[:3], head=guesser[3:]))
    before = {name: p.detach().clone() for name, p in game.players["guesser"].named_parameters()}
    plan = toy_plan(tmp_path, steps=1)
    own = {"learning_rate": 0.01, "factors": {"encoder": 0.1}}
    optim = plan.optim.override({"players": {"guesser": own}})
    run(replace(plan, optim=optim), game=game)
    moved = {"encoder": 0.0, "head": 0.0}
    for name, parameter in game.players["guesser"].named_parameters():
        part = name.partition(".")[0]
        step = (parameter.detach().cpu() - before[name]).abs().max().item()
        moved[part] = max(moved[part], step)
    assert moved == pytest.approx({"encoder": 0.001, "head": 0.01}, rel=1e-3)


def test_only_a_fresh_run_begins_with_initial_weights(tmp_path):
    plan = toy_plan(tmp_path)
    begun: list[int] = []

    def train_until(stop: int | None) -> None:
        game = Game()

        def open_batches(step: int) -> Iterator[FramePairs]:
            for number, batch in enumerate(toy_batches(step), start=step):
                if number == stop:
                    raise ConnectionAbortedError
                yield batch

        session.run(
            plan,
            game,
            open_batches,
            worker=AcceleratedWorker(),
            audience=Listener(),
            begin=lambda: begun.append(1),
        )

    with pytest.raises(ConnectionAbortedError):
        train_until(6)
    train_until(None)
    assert begun == [1]


def test_the_method_is_prepared_for_every_step_once(tmp_path):
    game = Game()
    run(toy_plan(tmp_path), game=game)
    assert game.prepared == list(range(12))


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(tmp_path):
    whole, broken = (toy_plan(tmp_path / name) for name in ("whole", "broken"))
    run(whole)
    with pytest.raises(ConnectionAbortedError):
        run(broken, stop_before=9)
    damaged = tmp_path / "broken/checkpoints/step_00000008/method.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    notes = run(broken).notes()
    assert notes[0].endswith(
        "step_00000008: damaged: method.safetensors is not what was written; "
        "going on from the one before"
    )
    assert notes[1] == "going on from step 4"
    assert_bit_equal(weights(whole), weights(broken))


def test_a_run_that_went_back_keeps_what_it_saves_though_later_ones_lie_damaged(tmp_path):
    """Of 8 and 12, both damaged, it goes back to 4; saved anew, 8 is what it could go on from."""
    plan = toy_plan(tmp_path, keep_checkpoints=1)
    run(replace(plan, loop=plan.loop.override({"keep_checkpoints": 3})))
    for step in (8, 12):
        Path(checkpoint.step_url(plan.run_url, step), "method.safetensors").write_bytes(b"")
    with pytest.raises(ConnectionAbortedError):
        run(plan, stop_before=9)
    assert checkpoint.newest_whole(plan.run_url)[0] == checkpoint.step_url(plan.run_url, 8)


def test_what_an_earlier_attempt_left_unfinished_is_removed_at_the_start(tmp_path):
    plan = toy_plan(tmp_path)
    run(plan)
    for step in (4, 12):
        Path(checkpoint.step_url(plan.run_url, step), "COMMIT.json").unlink()
    run(replace(plan, until=9))
    found = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert found == ["step_00000008", "step_00000009"]


def test_a_second_command_takes_the_run_over_and_the_first_commits_and_deletes_no_more(
    tmp_path, monkeypatch
):
    """It begins while the first writes a checkpoint, whose files its resume removes."""
    whole, first = (replace(toy_plan(tmp_path / name), launched=1.0) for name in ("whole", "run"))
    run(whole)
    write, left = storage.write, []

    def interfere(url: str, data: bytes) -> None:
        write(url, data)
        if url.endswith("step_00000008/settings.json") and not left:
            left.append(checkpoint.committed(first.run_url))
            attempts.take_over(first.run_url, 2.0)
            assert run(replace(first, launched=2.0)).notes() == ["going on from step 4"]
            left.append(contents(tmp_path / "run/checkpoints"))

    attempts.take_over(first.run_url, 1.0)
    monkeypatch.setattr(storage, "write", interfere)
    with pytest.raises(
        UserError, match=rf"another command has taken over this run \(process {os.getpid()} on "
    ):
        run(first)
    assert left == [
        [checkpoint.step_url(first.run_url, 4)],
        contents(tmp_path / "run/checkpoints"),
    ]
    assert_bit_equal(weights(whole), weights(first))


def test_once_taken_over_a_command_writes_no_line_into_the_journal_of_the_other(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(journal, "FLUSH_S", 0.0)
    first = replace(toy_plan(tmp_path), launched=1.0)
    write, left = storage.write, []

    def interfere(url: str, data: bytes) -> None:
        write(url, data)
        if url.endswith("rank_00000/00000005.jsonl") and not left:
            left.append("only once")
            attempts.take_over(first.run_url, 2.0)
            run(replace(first, launched=2.0))
            left.append(contents(tmp_path / "metrics"))

    attempts.take_over(first.run_url, 1.0)
    monkeypatch.setattr(storage, "write", interfere)
    with pytest.raises(UserError, match="another command has taken over"):
        run(first)
    assert contents(tmp_path / "metrics") == left[1]


def test_what_is_left_of_a_command_that_was_killed_cannot_resume(tmp_path):
    plan = replace(toy_plan(tmp_path), launched=1.0)
    attempts.take_over(plan.run_url, 2.0)
    with pytest.raises(UserError, match="another command has taken over"):
        run(plan)
    run(replace(plan, launched=2.0))


def test_with_all_checkpoints_damaged_it_starts_anew_and_they_are_kept_elsewhere(tmp_path):
    plan = toy_plan(tmp_path)
    run(plan)
    before = weights(plan)
    for file in tmp_path.glob("checkpoints/*/progress.json"):
        file.unlink()
    left = contents(tmp_path / "checkpoints")
    note = run(plan).notes()[-1]
    told, _, aside = note.partition("; they lie in ")
    assert told == "all checkpoints are damaged: starting anew"
    assert contents(Path(aside, "checkpoints")) == left
    assert_bit_equal(weights(plan), before)


def test_a_run_of_a_newer_selfseg_is_refused_and_nothing_of_it_changes(tmp_path):
    plan = toy_plan(tmp_path)
    run(plan)
    for file in tmp_path.glob("checkpoints/*/COMMIT.json"):
        told = json.loads(file.read_text())
        told["files"]["scaler.pt"] = told["files"]["progress.json"]
        file.write_text(json.dumps(told))
        file.with_name("scaler.pt").write_bytes(b"")
    left = contents(tmp_path)
    newest = checkpoint.step_url(plan.run_url, 12)
    with pytest.raises(UserError, match=f"^{newest}: written by a newer selfseg .*'scaler.pt'"):
        run(plan)
    assert contents(tmp_path) == left


def test_a_name_in_which_a_bit_has_turned_is_damage_and_not_of_a_newer_selfseg(tmp_path):
    plan = toy_plan(tmp_path)
    run(plan)
    before = weights(plan)
    newest = Path(checkpoint.step_url(plan.run_url, 12))
    commit = newest / "COMMIT.json"
    commit.write_text(commit.read_text().replace("progress.json", "prgress.json"))
    (note, *_) = run(plan).notes()
    assert note.startswith(f"{newest}: damaged: COMMIT.json names 'prgress.json'")
    assert_bit_equal(weights(plan), before)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    other = toy_plan(tmp_path / "other", max_skipped=3)
    run(other)
    plan = toy_plan(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "other/checkpoints").rename(tmp_path / "mine/checkpoints")
    with pytest.raises(UsageError, match=r"step_00000012: was started with loop.max_skipped=3 "):
        run(plan)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    plan = toy_plan(tmp_path)
    run(plan)
    before = weights(plan)
    listener = run(plan, stop_before=12)
    assert listener.notes() == ["going on from step 12"]
    assert listener.checkpoints == []
    assert_bit_equal(weights(plan), before)


def test_every_step_is_in_the_journal_once_after_a_restart(tmp_path):
    plan = toy_plan(tmp_path)
    with pytest.raises(ConnectionAbortedError):
        run(plan, stop_before=11)
    run(plan)
    lines = read_lines(plan.run_url)
    assert [line["step"] for line in lines] == list(range(12))
    assert [line["player"] for line in lines] == ["guesser", "guesser", "judge"] * 4
    assert set(lines[0]["terms"]) == {"error", "doubt", "loss", "gradient_norm"}
    # Step 4 came after the first checkpoint; step 8, after the second, is the restart's first.
    assert [line["step"] for line in lines if line["checkpoint_s"] > 0] == [4]
    assert all(line["wait_s"] >= 0 and line["compute_s"] > 0 for line in lines)


@pytest.mark.parametrize(
    ("name", "torn"),
    [
        ("attempts/0001.json", b'{"number": 1, "cau'),
        ("metrics/rank_00000/00000008.jsonl", b'{"step": 8, "pla'),
        ("metrics/rank_00000/00000005.jsonl", b"\xff"),
    ],
)
def test_a_damaged_record_is_set_aside_and_named_and_the_run_goes_on(tmp_path, name, torn):
    plan = toy_plan(tmp_path)
    with pytest.raises(ConnectionAbortedError):
        run(plan, stop_before=11)
    (tmp_path / name).write_bytes(torn)
    first, *others = run(plan).notes()
    told, _, aside = first.partition("; moved to ")
    assert told == f"{tmp_path / name}: damaged"
    assert others == ["going on from step 8"]
    assert Path(aside, name).read_bytes() == torn
    assert checkpoint.resolve(plan.run_url) == checkpoint.step_url(plan.run_url, 12)
    assert [line["step"] for line in read_lines(plan.run_url)][-4:] == [8, 9, 10, 11]


def test_steps_without_a_finite_loss_are_left_out_within_the_budget(tmp_path):
    plan = toy_plan(tmp_path, max_skipped=2)
    run(plan, game=Game(poison=frozenset({3, 6})))
    progress = json.loads((tmp_path / "checkpoints/step_00000012/progress.json").read_text())
    assert progress["skipped"] == 2
    assert all(weight.isfinite().all() for weight in weights(plan).values())
    losses = [line["terms"]["loss"] for line in read_lines(plan.run_url)]
    assert [step for step, loss in enumerate(losses) if math.isnan(loss)] == [3, 6]


def test_what_prediction_reads_is_the_running_mean_of_the_weights(tmp_path):
    decay = 0.75
    plan = toy_plan(tmp_path, average=decay, steps=3, checkpoint_every=1, keep_checkpoints=9)
    run(plan)
    name = "guesser.0.weight"
    after = [weights(plan, step)[name] for step in (1, 2, 3)]
    mean = after[0]
    for weight in after[1:]:
        mean = decay * mean + (1 - decay) * weight
    read = checkpoint.read_inference(checkpoint.resolve(plan.run_url))
    torch.testing.assert_close(read.weights[name], mean)
    assert read.step == 3
    assert read.manifest == plan.record.manifest


def test_reports_tell_the_latest_terms_of_every_player(tmp_path):
    last = run(toy_plan(Path(tmp_path))).reports[-1]
    assert (last.step, last.steps) == (12, 12)
    assert set(last.terms) == {"guesser", "judge"}
    assert last.steps_per_s > 0


def test_a_checkpoint_comes_after_the_lines_of_its_steps(tmp_path, monkeypatch):
    """Also where no line could be written on the way: none of these steps is taken again."""
    plan = toy_plan(tmp_path)
    written: dict[int, int] = {}
    save = checkpoint.save

    def note(run_url: str, state: TrainingState, record: RunRecord, **rest: Any) -> str:
        written[state.step] = len(read_lines(run_url))
        return save(run_url, state, record, **rest)

    monkeypatch.setattr(session.Journal, "flush", lambda journal: None)
    monkeypatch.setattr(checkpoint, "save", note)
    run(plan)
    assert written == {4: 4, 8: 8, 12: 12}
