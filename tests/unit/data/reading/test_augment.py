"""What varies from reading to reading, and what it depends on."""

from collections import Counter

import cv2
import numpy as np
import pytest

from selfseg.data.reading.augment import Augmentation, draw_pair, light_on
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.pairs import Pair, PairAddress, on_grid, read_pair
from selfseg.errors import UsageError
from tests.exact_collection import video_id, write_collection
from tests.synthetic import moving_disc

STILL = Augmentation(crop=(1, 1), flip=0, reverse=0, brightness=0, contrast=0, saturation=0)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, {"swan": moving_disc(5, pan=(4, 0))}, gaps=(1, 2))
    return Collection.open(folder)


def draw(collection, frame=1, stream=(0, 0), **changes) -> Pair:
    augmentation = changes.pop("augmentation", Augmentation())
    return draw_pair(
        collection,
        collection.videos["swan"][frame],
        stream=stream,
        camera="none",
        augmentation=augmentation,
        **{"gaps": (1, 2), "height": 24, "width": 32, **changes},
    )


def same(one: Pair, other: Pair) -> bool:
    return (
        one.key == other.key
        and np.array_equal(one.image, other.image)
        and np.array_equal(one.flow, other.flow)
    )


def test_the_same_stream_and_sample_give_the_same_pair(collection):
    first = draw(collection, stream=(3, 1))
    draw(collection, frame=2, stream=(3, 1))  # what else is read makes no difference
    assert same(first, draw(collection, stream=(3, 1)))


def test_epochs_seeds_and_samples_vary_on_their_own(collection):
    reference = draw(collection, stream=(3, 1))
    assert not same(reference, draw(collection, stream=(3, 2)))
    assert not same(reference, draw(collection, stream=(4, 1)))
    assert not np.array_equal(reference.image, draw(collection, frame=2, stream=(3, 1)).image)


def test_without_variation_a_sample_is_its_forward_pair_on_the_grid(collection):
    address = PairAddress(collection.videos["swan"][1], 2, reverse=False)
    plain = on_grid(read_pair(collection, address, "none"), 24, 32)
    assert same(draw(collection, gaps=(2,), augmentation=STILL), plain)


def test_gaps_directions_and_mirror_images_occur_as_often_as_they_should(collection):
    augmentation = STILL.override({"reverse": 0.25, "flip": 0.5})
    seen = Counter()
    for epoch in range(400):
        pair = draw(collection, stream=(0, epoch), augmentation=augmentation, height=4, width=8)
        frame = int(pair.key.removeprefix(f"{video_id('swan')}_"))
        # The background moves by +4 a frame, on a grid an eighth as wide: +-0.5 per frame.
        seen["reversed" if frame > 1 else "forward"] += 1
        seen[f"gap {abs(pair.flow[0, 0, 0]) / 0.5:.0f}"] += 1
        seen["mirrored" if (pair.flow[0, 0, 0] > 0) == (frame > 1) else "as filmed"] += 1
    # Three standard deviations of 400 draws are 30 at a half, 26 at a quarter.
    assert abs(seen["gap 1"] - 200) < 30
    assert seen["gap 1"] + seen["gap 2"] == 400
    assert abs(seen["mirrored"] - 200) < 30
    assert abs(seen["reversed"] - 100) < 26


def test_only_gaps_that_exist_at_the_frame_are_drawn(collection):
    # From frame 3 of 5, only the next frame can be reached.
    keys = {draw(collection, frame=3, stream=(0, e)).key[-1] for e in range(40)}
    assert keys == {"3", "4"}


def test_crops_stay_in_range_and_differ(collection):
    half = Augmentation.model_validate(STILL.model_dump() | {"crop": (0.5, 0.5)})
    pairs = [draw(collection, stream=(0, epoch), augmentation=half) for epoch in range(8)]
    # The background is fastest, 4 px a frame; a crop 32 px wide is shown on 32.
    assert {pair.flow[..., 0].max() for pair in pairs} == {4.0, 8.0}
    assert len({pair.image.tobytes() for pair in pairs}) == len(pairs)


def test_a_crop_range_upside_down_is_refused():
    with pytest.raises(UsageError, match="least side comes first"):
        Augmentation.parse({"crop": (1.0, 0.5)}, origin="recipe.toml")


def relit(image: np.ndarray, *gains: float) -> np.ndarray:
    return cv2.transform(image, light_on(image, *gains))


def test_light_of_one_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(relit(image, 1.0, 1.0, 1.0), image)


def test_light_at_its_extremes():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = [200, 100, 50]
    grey = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert np.unique(relit(image, 1.0, 1.0, 0.0)[:2]).tolist() == [grey]
    assert relit(image, 2.0, 1.0, 1.0)[0, 0].tolist() == [255, 200, 100]
    # The image's mean is half of its lit half's grey.
    assert np.unique(relit(image, 1.0, 0.0, 1.0)).tolist() == [round(grey / 2)]
