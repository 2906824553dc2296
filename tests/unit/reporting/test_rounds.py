from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs, Phase, View
from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.collection import Collection
from selfseg.evaluation.metrics import region_similarity
from selfseg.experiment import ExperimentConfig, Model
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.reporting import rounds
from selfseg.reporting.report import write_report
from selfseg.reporting.rounds import compare
from selfseg.training import checkpoint, commit, run_folder
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.methods.test_dystab_bootstrap import SMALL

TWO_ROUNDS = (
    Phase("initial", 0, 10, completes=0),
    Phase("round 1, static", 10, 20),
    Phase("round 1, dynamic", 20, 30, completes=1),
    Phase("round 2, static", 30, 40),
    Phase("round 2, dynamic", 40, 50, completes=2),
)
COLUMNS: dict[View, int] = {"dynamic": 10, "static": 20, "fused": 30}
CPU = torch.device("cpu")


class LeftSide:
    """Calls the left of every frame foreground: its columns tell the step and the view."""

    views = ("fused", "dynamic", "static")

    def __init__(self, step: int, phases: tuple[Phase, ...]) -> None:
        self.step, self.phases = step, phases

    def segment(self, frame: FramePairs, view: View) -> torch.Tensor:
        mask = torch.zeros(frame.image.shape[-2:])
        mask[:, : COLUMNS[view] + self.step // 2] = 1
        return mask


def model_at(step: int, phases: tuple[Phase, ...] = TWO_ROUNDS) -> Model:
    data = SimpleNamespace(height=48, width=64, gaps=(1, 2), camera="quadratic")
    return Model(
        method=LeftSide(step, phases),  # pyright: ignore[reportArgumentType]  # no player trains
        config=SimpleNamespace(data=data),  # pyright: ignore[reportArgumentType]
        ingest=IngestSettings(gaps=(1, 2)),
        url="a checkpoint",
        step=step,
        collection="",
        manifest="",
    )


@pytest.fixture(scope="module")
def scenes():
    return {f"disc-{k}": moving_disc(9, pan=(1, 0), seed=k) for k in range(3)}


@pytest.fixture
def collection(tmp_path, scenes) -> Collection:
    url = str(tmp_path / "collection")
    return Collection.open(url, write_collection(url, scenes, with_masks=True).id)


@pytest.fixture
def run_url(tmp_path, monkeypatch) -> str:
    """A run that kept what two rounds left, and the checkpoint of a step between them."""
    url = str(tmp_path / "run")
    for step in (10, 30, 36, 50):
        storage.write(storage.join(checkpoint.step_url(url, step), commit.COMMIT), b"{}")
    monkeypatch.setattr(rounds, "load_model", lambda url, device: model_at(int(url[-8:])))
    return url


def test_every_kept_round_is_shown_by_what_had_learned_by_then(run_url, collection):
    shown = compare(run_url, model_at(50), collection, ["disc-0", "disc-2"], CPU)
    assert [matrix.video for matrix in shown.matrices] == ["disc-0", "disc-2"]
    for matrix in shown.matrices:
        assert matrix.frame == 4
        assert matrix.heads == ["before the rounds", "after round 1", "after round 2"]
        filled = {strip.view: [cell is not None for cell in strip.cells] for strip in matrix.strips}
        assert filled == {
            "dynamic": [True, True, True],
            "static": [False, True, True],
            "fused": [False, True, True],
        }
    assert shown.gaps == []


def test_a_cell_is_the_mask_of_its_round_and_its_view(run_url, collection, scenes):
    (matrix,) = compare(run_url, model_at(50), collection, ["disc-1"], CPU).matrices
    truth = scenes["disc-1"].masks[4]
    for strip in matrix.strips:
        for step, cell in zip((10, 30, 50), strip.cells, strict=True):
            if cell is not None:
                mask = np.zeros_like(truth)
                mask[:, : COLUMNS[strip.view] + step // 2] = True
                assert cell.agreement == pytest.approx(region_similarity(mask, truth))


def test_before_each_view_stands_what_it_looks_at_and_before_both_the_truth(run_url, collection):
    (matrix,) = compare(run_url, model_at(50), collection, ["disc-1"], CPU).matrices
    given = {strip.view: strip.given and strip.given.name for strip in matrix.strips}
    assert given == {"dynamic": "own motion", "static": "frame", "fused": "truth"}


def test_without_masks_in_the_collection_there_is_no_truth_and_no_score(run_url, tmp_path, scenes):
    url = str(tmp_path / "bare")
    bare = Collection.open(url, write_collection(url, scenes).id)
    (matrix,) = compare(run_url, model_at(50), bare, ["disc-1"], CPU).matrices
    assert matrix.strips[-1].given is None
    assert {cell.agreement for strip in matrix.strips for cell in strip.cells if cell} == {None}


def test_a_run_in_its_second_round_shows_what_is_complete(run_url, collection):
    (matrix,) = compare(run_url, model_at(36), collection, ["disc-0"], CPU).matrices
    assert matrix.rounds == [0, 1]


@pytest.mark.parametrize(
    "newest",
    [model_at(10), model_at(25), model_at(50, ())],
    ids=["initial", "round 1", "no rounds"],
)
def test_without_a_complete_round_there_is_nothing_to_compare(run_url, collection, newest):
    shown = compare(run_url, newest, collection, ["disc-0"], CPU)
    assert (shown.matrices, shown.gaps) == ([], [])


def test_a_round_whose_checkpoint_was_deleted_is_named_and_the_others_are_shown(
    run_url, collection
):
    storage.delete(storage.join(checkpoint.step_url(run_url, 30), commit.COMMIT))
    shown = compare(run_url, model_at(50), collection, ["disc-0"], CPU)
    assert shown.matrices[0].rounds == [0, 2]
    (gap,) = shown.gaps
    assert "after round 1 are not shown: their checkpoint is no longer in the run" in gap


def write_bootstrap(url: str, collection: Collection, *, steps: tuple[int, ...]) -> None:
    """Leave a run that was never trained, with checkpoints after some of its steps."""
    config = ExperimentConfig.model_validate(
        {
            "method": SMALL.model_dump(mode="json"),
            "data": {"height": 48, "width": 64, "batch_size": 2, "gaps": [1, 2]},
            "optim": {"learning_rate": 1e-3},
            "loop": {"steps": 20},
        }
    )
    record = checkpoint.RunRecord(
        settings=config.model_dump(mode="json"),
        collection=collection.url,
        manifest=collection.manifest_id,
        ingest=collection.manifest.settings.model_dump(mode="json"),
    )
    run_folder.claim(url, record, command="selfseg train")
    weights = Bootstrap(SMALL).players.state_dict()
    for step in steps:
        state = checkpoint.TrainingState(step, 0, weights, None, {}, {})
        checkpoint.save(url, state, record)


@pytest.mark.parametrize(("steps", "told"), [((4, 12, 15), True), ((4,), False)])
def test_the_report_of_a_bootstrap_has_its_rounds(tmp_path, collection, steps, told):
    url = str(tmp_path / "run")
    write_bootstrap(url, collection, steps=steps)
    page = storage.read(write_report(url)).decode()
    assert ('id="rounds"' in page) is told
    assert ("after round 1" in page) is told
    assert "after round 2" not in page
    assert "not shown" not in page
