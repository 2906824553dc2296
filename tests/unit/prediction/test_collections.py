"""A video of a collection is seen as the same video is that was never ingested."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from selfseg.data.format.schema import decode_image, encode_image
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.videos import frame_paths
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from selfseg.prediction.benchmarks import find_benchmark
from selfseg.prediction.evaluate import evaluate
from selfseg.prediction.inputs import collection_sources, find_sources
from selfseg.prediction.predict import predict
from selfseg.prediction.scoring import score_source
from selfseg.prediction.segment import model_segmenter
from selfseg.prediction.sources import Preparation, local_source
from selfseg.prediction.subjects import Subject
from selfseg.prediction.truth import Truth, by_stem
from tests.synthetic import Scene, moving_disc, write_frames, write_masks
from tests.unit.prediction.scenes import BrightIsForeground, FastIsForeground, ingest, model_of
from tests.unit.prediction.trees import block, write_picture

SETTINGS = IngestSettings(height=48, gaps=(1, 2), matching_scale=2.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_disc(5, height=96, width=128, radius=20, velocity=(4, 0), pan=(-1, 0))


@pytest.fixture(scope="module")
def place(scene, tmp_path_factory) -> Path:
    """A folder with frames, masks, and a collection with and one without masks."""
    root = tmp_path_factory.mktemp("place")
    frames = write_frames(root / "frames" / "disc", scene.frames)
    write_masks(root / "masks" / "disc", scene.masks)
    ingest(str(root / "with"), [frames], root / "masks", SETTINGS)
    ingest(str(root / "without"), [frames], None, SETTINGS)
    return root


@pytest.mark.parametrize("camera", ["quadratic", "homography", "none"])
def test_stored_and_fresh_frames_have_the_same_motion(place, camera):
    preparation = Preparation(SETTINGS, (1, 2), camera)
    (stored,) = collection_sources(str(place / "with"))
    frames, masks = place / "frames" / "disc", place / "masks" / "disc"
    truth = Truth(by_stem(frame_paths(frames), frame_paths(masks)))
    fresh = local_source(frames, "disc", truth=truth)
    pairs_seen = 0
    for a, b in zip(stored.frames(preparation), fresh.frames(preparation), strict=True):
        assert (a.name, a.number, a.height, a.width) == (b.name, b.number, b.height, b.width)
        np.testing.assert_array_equal(a.truth, b.truth)
        kept = decode_image(encode_image(b.image, SETTINGS.jpeg_quality))
        np.testing.assert_array_equal(a.image, kept)
        assert len(a.pairs) == len(b.pairs)
        pairs_seen += len(a.pairs)
        for one, other in zip(a.pairs, b.pairs, strict=True):
            # Stored in 1/32 pixel; OpenCV's threads may change last digits.
            np.testing.assert_allclose(one.flow, other.flow, atol=0.05)
            np.testing.assert_allclose(one.flow_back, other.flow_back, atol=0.05)
            np.testing.assert_allclose(one.camera, other.camera, atol=0.01)
            np.testing.assert_allclose(one.camera_back, other.camera_back, atol=0.01)
        if a.to_next and b.to_next:
            np.testing.assert_allclose(a.to_next[0], b.to_next[0], atol=1e-3)
            assert a.to_next[1] == b.to_next[1] == (24, 32)
        assert (a.to_next is None) == (b.to_next is None) == (a.number == 4)
    # 5 frames: 4 pairs one apart and 3 two apart, each seen from both ends.
    assert pairs_seen == 2 * (4 + 3)


def test_a_collection_is_scored_at_the_size_of_its_masks(place):
    benchmark = find_benchmark(collection=str(place / "with"))
    assert benchmark.name == "with"
    scores = evaluate(
        Subject(baseline="flow-otsu"), benchmark, processes=1, console=Console(quiet=True)
    )
    assert [(each.name, each.frames) for each in scores.each] == [("disc", 3)]
    assert scores.mean("j") > 0.5


def test_a_collection_without_masks_cannot_be_scored(place):
    with pytest.raises(UserError, match="without: holds no masks to score against; ingest with"):
        find_benchmark(collection=str(place / "without"))


def test_gaps_that_were_not_stored_are_refused(place):
    (source,) = collection_sources(str(place / "with"))
    with pytest.raises(UserError, match=r"over \[1, 2\] frames, not over \[3\]; choose others"):
        next(iter(source.frames(Preparation(SETTINGS, (3,), "none"))))


def test_a_collection_is_something_to_predict_on(place, tmp_path):
    (source,) = find_sources(str(place / "with"))
    assert (source.name, source.num_frames) == ("disc", 5)
    summary = predict(
        model_of(FastIsForeground()),
        [str(place / "with")],
        str(tmp_path / "out"),
        device=torch.device("cpu"),
        console=Console(quiet=True),
    )
    assert summary.frames == 5


def test_a_named_state_of_a_collection_is_predicted_and_scored(place):
    url = str(place / "with")
    named = f"{url}@{Collection.open(url).manifest_id[:8]}"
    (source,) = find_sources(named)
    (scored,) = find_benchmark(collection=named).sources
    assert source.name == scored.name == "disc"
    assert len(list(source.frames(Preparation(SETTINGS, (1, 2), "none")))) == 5


@pytest.fixture
def stills(tmp_path) -> str:
    """Two dark pictures with a bright object each; one has a mask."""
    for name, mask in (("left", block(4, 2, 12)), ("right", block(8, 18, 12))):
        image = np.where(mask[..., None], 250, 30) * np.ones(3)
        write_picture(tmp_path / "images" / f"{name}.png", image)
        if name == "right":
            write_picture(tmp_path / "masks" / f"{name}.png", mask * 255)
    images = sorted((tmp_path / "images").iterdir())
    settings = IngestSettings(height=48, flow="none")
    ingest(str(tmp_path / "stills"), images, tmp_path / "masks", settings)
    return str(tmp_path / "stills")


def test_a_collection_of_stills_is_scored_as_stills_are(stills):
    benchmark = find_benchmark(collection=stills)
    assert benchmark.still
    (source,) = benchmark.sources
    assert (source.name, source.still) == ("right", True)
    model = model_of(BrightIsForeground())
    model.config.data.gaps = (9,)  # of motion, at which such a model does not look
    segmenter = model_segmenter(model, gaps=None, device=torch.device("cpu"))
    assert score_source(segmenter, source, benchmark.protocol, crf=False).measured["iou"] > 0.9


def test_a_collection_of_stills_is_predicted_as_stills_are(stills, tmp_path):
    options = {"device": torch.device("cpu"), "console": Console(quiet=True)}
    summary = predict(model_of(BrightIsForeground()), [stills], str(tmp_path / "out"), **options)
    assert (summary.frames, summary.videos) == (2, ())
    with pytest.raises(UserError, match="left: a single image shows no motion"):
        predict(model_of(FastIsForeground()), [stills], str(tmp_path / "moving"), **options)
