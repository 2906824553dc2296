"""Made-up scenes from `tools/make_scenes.py` through `tools/shard_videos.py` into a collection."""

from collections.abc import Iterator

import numpy as np
import pytest
import ray
from scenes import CANVAS, Settings, camera_path, photograph, scene, seen

from selfseg.data.format import schema
from selfseg.data.reading.collection import Collection
from tools import make_scenes, shard_videos

pytestmark = pytest.mark.distributed

MADE = Settings(
    photographs=(), videos=2, frames=12, size=64, objects=1, moving_camera=False, seed=0
)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.shutdown()
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    scenes = tmp_path_factory.mktemp("made") / "scenes"
    sizes = ("--videos", "2", "--frames", "12", "--size", "64")
    make_scenes.main([str(scenes), *sizes, "--camera", "still"])
    url = str(scenes.parent / "collection")
    given = (str(scenes / "videos"), "--masks", str(scenes / "masks"), "--output", url)
    options = ("--height", "64", "--gaps", "1", "--workers", "1", "--background", "median")
    shard_videos.main([*given, *options])
    return Collection.open(url)


def test_scenes_are_ingested_frame_by_frame_with_their_masks(collection):
    assert {name: len(found) for name, found in collection.videos.items()} == {
        "scene_000": 12, "scene_001": 12
    }  # fmt: skip
    for video, ordinals in enumerate(collection.videos.values()):
        for ordinal, (frame, labels) in zip(ordinals, scene(MADE, video), strict=True):
            record = collection.record(ordinal)
            image = schema.decode_image(record.read(schema.IMAGE)).astype(int)
            assert abs(image - frame).mean() < 6  # JPEG
            mask = schema.decode_mask(record.read(schema.MASK))
            np.testing.assert_array_equal(mask, labels > 0)


def test_before_a_camera_at_rest_the_figure_vanishes_from_the_background(collection):
    for video, ordinals in enumerate(collection.videos.values()):
        canvas = photograph(MADE, video, *(side * MADE.size for side in CANVAS))
        expected = seen(canvas, camera_path(MADE, video)[0], MADE.size).astype(int)
        covered = np.mean([labels > 0 for _, labels in scene(MADE, video)], axis=0)
        assert covered.max() > 0
        found = schema.decode_image(collection.background(ordinals[0]))
        np.testing.assert_array_equal(found[covered < 0.5], expected[covered < 0.5])
