import numpy as np
import pytest

from selfseg.data.ingest.decoding import BrokenVideoError
from selfseg.prediction.truth import Truth, bright, by_stem
from tests.unit.prediction.trees import SIZE, block, write_labels, write_picture

ONE, OTHER = block(0, 0), block(10, 12)


def test_a_palette_is_read_by_its_labels_and_all_of_them_are_one_foreground(tmp_path):
    path = write_labels(tmp_path / "a.png", ONE * 1 + OTHER * 37)
    read = Truth({3: (path,)}).read(3, SIZE)
    assert read is not None
    np.testing.assert_array_equal(read[0], ONE | OTHER)
    assert read[1] is None


def test_any_colour_but_black_is_foreground(tmp_path):
    colours = ONE[..., None] * np.array([0, 0, 1]) + OTHER[..., None] * np.array([255, 0, 0])
    read = Truth({0: (write_picture(tmp_path / "a.png", colours),)}).read(0, SIZE)
    assert read is not None
    np.testing.assert_array_equal(read[0], ONE | OTHER)


def test_masks_of_several_objects_are_merged(tmp_path):
    paths = (
        write_picture(tmp_path / "1" / "a.png", ONE * 255),
        write_picture(tmp_path / "2" / "a.bmp", OTHER * 255),
    )
    read = Truth({0: paths}).read(0, SIZE)
    assert read is not None
    np.testing.assert_array_equal(read[0], ONE | OTHER)


def test_void_is_background_and_told_apart_only_where_it_is_a_label(tmp_path):
    path = write_labels(tmp_path / "a.png", ONE * 1 + OTHER * 255)
    read = Truth({0: (path,)}, void=255).read(0, SIZE)
    assert read is not None
    np.testing.assert_array_equal(read[0], ONE)
    np.testing.assert_array_equal(read[1], OTHER)
    plain = Truth({0: (path,)}).read(0, SIZE)
    assert plain is not None
    np.testing.assert_array_equal(plain[0], ONE | OTHER)


def test_smoothed_edges_belong_to_the_nearer_side(tmp_path):
    levels = np.zeros(SIZE)
    levels[:, :3] = 0, 127, 128
    read = Truth({0: (write_picture(tmp_path / "a.png", levels),)}, bright).read(0, SIZE)
    assert read is not None
    assert read[0][0, :3].tolist() == [False, False, True]


def test_a_frame_without_a_file_has_no_truth(tmp_path):
    frames = [write_picture(tmp_path / f"{name}.jpg") for name in ("a", "b", "c")]
    masks = [write_picture(tmp_path / "masks" / f"{name}.png", ONE * 255) for name in ("a", "c")]
    files = by_stem(frames, masks)
    assert files == {0: (masks[0],), 2: (masks[1],)}
    assert Truth(files).read(1, SIZE) is None


def test_a_mask_that_is_no_image_or_of_another_size_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(BrokenVideoError, match=r"mask a\.png is not an image"):
        Truth({0: (tmp_path / "a.png",)}).read(0, SIZE)
    path = write_picture(tmp_path / "b.png", ONE * 255)
    with pytest.raises(BrokenVideoError, match=r"mask b\.png is 32x24, its frame 64x48"):
        Truth({0: (path,)}).read(0, (48, 64))
