"""Made-up scenes from `tools/make_scenes.py` through `tools/shard_videos.py` into a collection."""

from collections.abc import Iterator

import numpy as np
import pytest
import ray
from scenes import Settings, scene

from selfseg.data import schema
from selfseg.data.collection import Collection
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
    shard_videos.main([*given, "--height", "64", "--gaps", "1", "--workers", "1"])
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
