import json
from types import SimpleNamespace

import pytest
import torch

from selfseg import storage
from selfseg.contracts import Detections, FramePairs, Phase, View
from selfseg.data.format.manifest import shard_url
from selfseg.data.format.settings import IngestSettings
from selfseg.errors import UserError
from selfseg.reporting import gallery
from selfseg.reporting.gallery import hang
from selfseg.reporting.looks import spread
from selfseg.reporting.report import write_report
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc


class SpeedThreshold:
    """Calls foreground what moves by itself; exact on scenes with exact flow."""

    views = ("dynamic",)
    phases = ()

    def segment(self, frame: FramePairs, view: View) -> torch.Tensor:
        assert view == "dynamic"
        own_motion = (frame.flow - frame.camera).norm(dim=1)
        return (own_motion > 0.3).float().mean(0)


class BrightBox:
    """Finds one box, always the same, whose mask is what is bright in it."""

    views = ("static",)
    phases = (Phase("inpainters", 0, 100), Phase("proposals", 100, 200))

    def detect(self, image: torch.Tensor, *, objects: int = 1) -> Detections:
        assert objects == 1
        inside = torch.zeros_like(image[0])
        inside[12:36, 16:48] = 1
        return Detections(
            boxes=torch.tensor([[0.25, 0.25, 0.5, 0.5]]),
            confidence=torch.tensor([0.9]),
            masks=((image.mean(0) > 0.5) * inside).unsqueeze(0),
            bumps=inside.unsqueeze(0),
            cells=torch.tensor([0]),
            centres=torch.tensor([[0.5, 0.5]]),
            probability=torch.tensor([1.0]),
        )


@pytest.fixture
def detector(monkeypatch):
    """Return what makes a detector the trained model, at a step."""

    def at(step: int) -> None:
        settings = SimpleNamespace(height=48, width=64, gaps=(1, 2), camera="quadratic")
        trained = SimpleNamespace(
            method=BrightBox(),
            config=SimpleNamespace(data=settings),
            ingest=IngestSettings(gaps=(1, 2)),
            url="a checkpoint",
            step=step,
        )
        monkeypatch.setattr(gallery, "load_model", lambda url, device: trained)

    return at


@pytest.fixture
def model(monkeypatch):
    """A trained model without the training."""
    settings = SimpleNamespace(height=48, width=64, gaps=(1, 2), camera="quadratic")
    trained = SimpleNamespace(
        method=SpeedThreshold(),
        config=SimpleNamespace(data=settings),
        ingest=IngestSettings(gaps=(1, 2)),
        url="a checkpoint",
    )
    monkeypatch.setattr(gallery, "load_model", lambda url, device: trained)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(gallery, "ROWS", 3)
    monkeypatch.setattr(gallery, "FILMS", 1)
    monkeypatch.setattr(gallery, "FILM_FRAMES", 4)


@pytest.fixture
def collection(tmp_path):
    url = str(tmp_path / "collection")
    scenes = {f"disc-{k}": moving_disc(9, pan=(1, 0), velocity=(-1, 0.5), seed=k) for k in range(5)}
    return url, write_collection(url, scenes).id


def write_run(url: str, collection: tuple[str, str]) -> None:
    facts = {
        "settings": {"seed": 0, "method": {"name": "speed_threshold"}, "loop": {"steps": 5}},
        "ingest": {},
        "collection": collection[0],
        "manifest": collection[1],
        "versions": {},
        "command": "selfseg train",
    }
    storage.write(storage.join(url, "run.json"), json.dumps(facts).encode())


def test_a_few_are_chosen_evenly_and_all_when_there_are_few():
    assert spread(list(range(5)), 2) == [1, 3]
    assert spread(list(range(9)), 3) == [1, 4, 7]
    assert spread(list(range(2)), 8) == [0, 1]
    assert spread([], 3) == []


@pytest.mark.usefixtures("model")
def test_the_grid_shows_middle_frames_of_several_videos_and_a_few_play(collection):
    shown = hang("a run", *collection)
    assert [(row.video, row.frame) for row in shown.rows] == [
        ("disc-0", 4),
        ("disc-2", 4),
        ("disc-4", 4),
    ]
    names = [tile.name for tile in shown.rows[0].tiles]
    assert names == ["frame", "flow", "own motion", "prediction"]
    assert [(film.video, film.first, film.last) for film in shown.films] == [("disc-2", 2, 5)]
    assert shown.videos == [(f"disc-{k}", 9) for k in range(5)]
    assert shown.gaps == []
    assert "hue is direction" in shown.note
    assert "green line" not in shown.note


def test_a_detectors_pictures_show_its_box_and_say_what_is_drawn(collection, detector):
    detector(150)
    shown = hang("a run", *collection)
    assert [tile.name for tile in shown.rows[0].tiles] == ["frame", "prediction"]
    assert shown.rows[0].tiles[1].alt.endswith("in a box of confidence 0.90")
    assert "a green line leads" in shown.note
    assert "hue is direction" not in shown.note
    assert len(shown.films) == 1


def test_inpainters_alone_show_nothing(collection, detector):
    detector(100)
    shown = hang("a run", *collection)
    assert shown.rows == []
    assert "inpainters are all that has been trained" in shown.note
    assert len(shown.videos) == 5


def test_a_collection_out_of_reach_is_named_and_leaves_a_report(tmp_path):
    run_url = str(tmp_path / "run")
    write_run(run_url, (str(tmp_path / "nowhere"), "0" * 64))
    page = storage.read(write_report(run_url)).decode()
    assert "No pictures, because the collection is out of reach" in page
    assert str(tmp_path / "nowhere") in page


def test_a_run_without_a_checkpoint_still_says_what_it_reads(tmp_path, collection):
    run_url = str(tmp_path / "run")
    write_run(run_url, collection)
    page = storage.read(write_report(run_url)).decode()
    assert "no model could be loaded" in page
    assert "disc-4" in page


@pytest.mark.usefixtures("model")
def test_a_damaged_shard_costs_its_videos_and_not_the_report(tmp_path, collection):
    run_url = str(tmp_path / "run")
    write_run(run_url, collection)
    whole = storage.read(write_report(run_url)).decode()
    for name in storage.listing(shard_url(collection[0], "").rpartition("/")[0]):
        if name.endswith(".tar"):
            address = storage.join(collection[0], "shards", name)
            storage.write(address, bytes(storage.size(address)))
    damaged = storage.read(write_report(run_url)).decode()
    assert "is not shown" not in whole
    assert "is not shown" in damaged


def test_a_report_needs_a_run(tmp_path):
    with pytest.raises(UserError, match="no run here"):
        write_report(str(tmp_path))
