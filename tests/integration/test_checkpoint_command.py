"""`selfseg checkpoint` on a run with rounds, in a folder and in a bucket."""

import json
import re
from typing import Any

import pytest

from selfseg import storage
from selfseg.cli import main
from selfseg.experiment import read_recipe
from selfseg.reporting.checkpoints import best_scored, list_checkpoints, prunable
from selfseg.runtime import ray_train
from selfseg.training import checkpoint, run_folder
from selfseg.training.checkpoint import RunRecord
from tests.exact_collection import write_collection
from tests.integration.test_grown_run import CONFIG as SHORT
from tests.integration.test_grown_run import FEW, in_this_process
from tests.unit.training.test_checkpoint import state

__all__ = ["in_this_process"]

CONFIG = read_recipe("dystab_bootstrap_cpu")
ROUND = CONFIG.round_ends[0]
STEPS = [ROUND - 100, ROUND, ROUND + 100, ROUND + 200]
"""A checkpoint before the end of the initial round, one there, and two after it."""


@pytest.fixture
def run(place: str) -> str:
    """Write a run with four checkpoints; return its URL."""
    url = storage.join(place, "runs", "mine")
    settings = CONFIG.model_dump(mode="json")
    record = RunRecord(settings=settings, collection="c", manifest="0" * 64, ingest={})
    run_folder.claim(url, record, command="selfseg train dystab_bootstrap_cpu")
    for step in STEPS:
        checkpoint.save(url, state(step), record)
    return url


def evaluate(run: str, step: int, j_mean: float, **told: Any) -> None:
    """Leave a score in the run, as `selfseg evaluate` does."""
    record = {
        "title": f"mine {step}",
        "benchmark": "davis16",
        "baseline": None,
        "checkpoint": f"somewhere/else/checkpoints/step_{step:08d}",
        "view": "fused",
        "j_mean": j_mean,
        "j_frame_mean": j_mean,
        "f_mean": j_mean,
        "sequences": {"bear": {"j": j_mean, "f": j_mean}},
        **told,
    }
    url = storage.join(run, "evaluations", f"{record['title']}.json")
    storage.write(url, json.dumps(record).encode())


def steps(urls: list[str]) -> list[int]:
    return [int(url.rpartition("_")[2]) for url in urls]


def damage(run: str, step: int, name: str) -> None:
    """Flip a bit in the middle of a file."""
    url = storage.join(checkpoint.step_url(run, step), name)
    data = bytearray(storage.read(url))
    data[len(data) // 2] ^= 1
    storage.write(url, bytes(data))


def drop(run: str, step: int, name: str = "COMMIT.json") -> None:
    storage.delete(storage.join(checkpoint.step_url(run, step), name))


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_list_tells_size_round_score_and_what_is_whole(run, capsys):
    evaluate(run, STEPS[1], 0.625)
    drop(run, STEPS[2])
    drop(run, STEPS[3], "progress.json")
    listed = list_checkpoints(run)
    assert [each.step for each in listed] == STEPS
    assert [each.round for each in listed] == [None, 0, None, None]
    assert [each.scores for each in listed] == ["", "davis16 J 0.625", "", ""]
    assert [each.state for each in listed] == ["intact", "intact", "unfinished", "damaged"]
    files = storage.listing(listed[0].url)
    assert listed[0].size == sum(storage.size(storage.join(listed[0].url, f)) for f in files)
    assert listed[0].saved is not None
    assert listed[2].saved is None
    main(["checkpoint", "list", run.rpartition("/")[0]])
    line = next(line for line in told(capsys) if str(STEPS[1]) in line)
    assert re.search(r"mine .* 0 .*davis16 J 0\.625 .*intact", line)


@pytest.mark.parametrize("flip", [(b'"size"', b'"sizd"'), (b'"time": "2', b'"time": "r')])
def test_one_whose_commit_is_damaged_is_listed_as_such_beside_the_others(run, flip):
    url = storage.join(checkpoint.step_url(run, STEPS[1]), "COMMIT.json")
    storage.write(url, storage.read(url).replace(*flip))
    states = [each.state for each in list_checkpoints(run)]
    assert states == ["intact", "damaged", "intact", "intact"]


def test_verifying_names_each_damaged_file_and_where_the_run_would_go_on(run, capsys):
    main(["checkpoint", "verify", run])
    assert told(capsys) == [f"{run}: 4 whole checkpoints; it would go on from step {STEPS[3]}"]
    damage(run, STEPS[3], "optimisers.pt")
    drop(run, STEPS[3], "progress.json")
    drop(run, STEPS[1])
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["checkpoint", "verify", run])
    url = checkpoint.step_url(run, STEPS[3])
    assert told(capsys) == [
        f"{url}: damaged: optimisers.pt is not what was written",
        f"{url}: damaged: progress.json is missing",
        f"{run}: 2 whole checkpoints; it would go on from step {STEPS[2]}",
    ]


def test_pruning_keeps_the_newest_and_the_end_of_a_round_and_says_what_goes(run, capsys):
    gone = [checkpoint.step_url(run, step) for step in (STEPS[0], STEPS[2])]
    main(["checkpoint", "prune", run, "--keep", "1", "--dry-run"])
    *lines, summary = told(capsys)
    assert [line.rpartition(": would be deleted, ")[0] for line in lines] == gone
    assert summary.startswith("2 checkpoints would be deleted, ")
    assert steps(checkpoint.committed(run)) == STEPS
    main(["checkpoint", "prune", run, "--keep", "1"])
    assert [line.rpartition(": deleted, ")[0] for line in told(capsys)[:-1]] == gone
    assert steps(checkpoint.committed(run)) == [STEPS[1], STEPS[3]]
    assert all(storage.listing(url) == [] for url in gone)


def test_the_newest_whole_one_stays_and_so_does_all_behind_it(run):
    """The newest is damaged, and another is in the making: the run would go on from the third."""
    damage(run, STEPS[3], "optimisers.pt")
    storage.write(storage.join(run, "checkpoints/step_00009999/progress.json"), b"{}")
    assert steps(prunable(run, 1)) == [STEPS[0]]


def test_unfinished_ones_go_where_a_whole_one_is_newer(run):
    for step in (STEPS[1], STEPS[3]):
        drop(run, step)
    assert steps(prunable(run, 9)) == [STEPS[1]]


def test_without_a_whole_checkpoint_nothing_goes(run):
    for step in STEPS:
        drop(run, step)
    assert prunable(run, 1) == []


def test_the_best_stay_where_scores_compare(run):
    """The first is best without the CRF, the third with it, and neither is the newest."""
    for step, plain, refined in zip(STEPS, (0.6, 0.4, 0.5, 0.3), (0.5, 0.6, 0.7, 0.4), strict=True):
        evaluate(run, step, plain)
        evaluate(run, step, refined, crf=True, title=f"mine {step} + CRF")
    assert steps(prunable(run, 1)) == [STEPS[0], STEPS[2]]
    assert prunable(run, 1, best=1, by="j_mean") == []


def test_what_is_best_by_the_measure_that_ranks_is_best_of_what_compares(run):
    rest = dict.fromkeys(("f_beta_mean", "f_beta_adaptive_mean", "mae_mean"), 0.5)
    assert best_scored(run) == set()
    for step, mean in zip(STEPS, (0.4, 0.6, 0.5, 0.3), strict=True):
        evaluate(run, step, mean)
        evaluate(run, step, 1 - mean, crf=True, title=f"mine {step} + CRF")
        evaluate(run, step, 0, **rest, iou_mean=1 / step, images={"a": {}}, title=f"still {step}")
    assert best_scored(run) == {STEPS[0], STEPS[1], STEPS[3]}
    evaluate(run, STEPS[2], 0.9, baseline="bright", title="bright", checkpoint="")
    assert best_scored(run) == {STEPS[0], STEPS[1], STEPS[3]}


def test_a_run_under_way_keeps_what_scored_best(place):
    collection, url = storage.join(place, "films"), storage.join(place, "runs", "short")
    write_collection(collection, FEW, gaps=(1,))
    config = SHORT.override({"loop.keep_checkpoints": 1, "loop.steps": 6})
    for until, score in ((2, 0.6), (3, 0.7), (4, 0.5), (None, None)):
        ray_train.train(config, collection_url=collection, run_url=url, until=until)
        if until is not None and score is not None:
            evaluate(url, until, score)
    assert steps(checkpoint.committed(url)) == [3, 6]


def test_of_an_error_the_least_is_best(run):
    rest = dict.fromkeys(("iou_mean", "f_beta_mean", "f_beta_adaptive_mean"), 0.5)
    for step, error in zip(STEPS, (0.2, 0.1, 0.1, 0.05), strict=True):
        evaluate(run, step, 0.5, **rest, mae_mean=error, images={"a": {}}, benchmark="ecssd")
    assert steps(prunable(run, 1, best=2, by="mae_mean")) == [STEPS[0]]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--keep", "0"], 2, "--keep 0: at least the newest stays"),
        (["--keep", "1", "--best", "2"], 2, "--by METRIC go together"),
        (["--keep", "1", "--best", "2", "--by", "jay"], 2, "--by jay: no such score; choose from"),
        (["--keep", "1", "--best", "2", "--by", "j_mean"], 1, "no checkpoint has a score j_mean"),
    ],
)
def test_a_mistake_deletes_nothing(run, capsys, options, code, message):
    with pytest.raises(SystemExit, match=f"^{code}$"):
        main(["checkpoint", "prune", run, *options])
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert steps(checkpoint.committed(run)) == STEPS


def test_settings_that_are_not_understood_protect_every_checkpoint(run, capsys):
    url = storage.join(run, "run.json")
    document = json.loads(storage.read(url))
    document["settings"]["loop"]["stepz"] = 1
    storage.write(url, json.dumps(document).encode())
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["checkpoint", "prune", run, "--keep", "1"])
    assert "which checkpoints end a round, nobody can tell" in capsys.readouterr().err
    assert steps(checkpoint.committed(run)) == STEPS


def test_where_there_is_no_run_the_remedy_is_named(place, capsys):
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["checkpoint", "verify", place])
    assert capsys.readouterr().err.startswith(f"selfseg: {place}: no run here: name the --run of")
