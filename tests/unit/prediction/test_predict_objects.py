"""What a method that finds objects leaves behind besides masks: boxes, in COCO's format too."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from rich.console import Console

from selfseg.data.format.schema import decode_image, decode_mask
from selfseg.errors import UsageError
from selfseg.prediction.predict import Summary, predict
from tests.synthetic import write_frames
from tests.unit.prediction.scenes import BrightIsForeground, BrightObjects, model_of

LARGE, SMALL = (20, 30, 60, 30), (100, 10, 20, 40)
"""Left, top, width, height of two bright things in frames of 96 x 128 pixels."""


def frame(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    shown = np.zeros((96, 128, 3), np.uint8)
    for left, top, width, height in boxes:
        shown[top : top + height, left : left + width] = 250
    return shown


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three frames: two things, one, and none."""
    return write_frames(tmp_path / "things", np.stack([frame(LARGE, SMALL), frame(SMALL), frame()]))


def run(method: object, inputs: list[Path], output: Path, **options: Any) -> Summary:
    return predict(
        model_of(method, height=96, width=128),
        [str(path) for path in inputs],
        str(output),
        device=torch.device("cpu"),
        console=Console(quiet=True),
        **options,
    )


def read_lines(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


def read_coco(output: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(output / "detections.json"))


# Its decoder is older than NumPy 2, and is only needed here.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_each_object_of_each_frame_is_an_annotation_that_pycocotools_reads(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out", objects=2)
    found = read_coco(tmp_path / "out")
    assert [each["file_name"] for each in found.loadImgs([1, 2, 3])] == [
        f"things/{number:05d}" for number in range(3)
    ]
    assert {(each["height"], each["width"]) for each in found.loadImgs([1, 2, 3])} == {(96, 128)}
    assert found.loadCats([1])[0]["name"] == "object"
    objects: Any = [found.loadAnns(found.getAnnIds(imgIds=[n])) for n in (1, 2, 3)]
    assert [len(each) for each in objects] == [2, 1, 0]
    for each, box in zip([*objects[0], *objects[1]], (LARGE, SMALL, SMALL), strict=True):
        left, top, width, height = box
        np.testing.assert_allclose(each["bbox"], box, atol=0.01)
        mask = np.zeros((96, 128), bool)
        mask[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(found.annToMask(each), mask)
        assert each["area"] == mask.sum()
        assert each["iscrowd"] == 0
    # By the areas, 1800 and 800.
    assert [each["score"] for each in objects[0]] == pytest.approx([18 / 26, 8 / 26], abs=1e-3)


def test_the_annotations_are_results_too(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out", objects=2)
    found = read_coco(tmp_path / "out")
    with contextlib.redirect_stdout(io.StringIO()):
        given: Any = found.dataset["annotations"]
        results = found.loadRes(given)
    assert len(results.getAnnIds()) == 3


def test_the_mask_shows_all_objects_and_each_line_names_their_boxes(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out", objects=2)
    lines = read_lines(tmp_path / "out")
    assert [len(line.get("detections", ())) for line in lines] == [2, 1, 0]
    mask = decode_mask((tmp_path / "out" / lines[0]["mask"]).read_bytes())
    np.testing.assert_array_equal(mask, frame(LARGE, SMALL)[..., 0] > 0)
    np.testing.assert_allclose(lines[0]["detections"][0]["box"], LARGE, atol=0.01)
    assert lines[0]["detections"][0]["confidence"] == pytest.approx(18 / 26, abs=1e-3)
    assert "detections" not in lines[2]


def test_unless_asked_otherwise_one_object_is_found(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out")
    lines = read_lines(tmp_path / "out")
    assert [len(line.get("detections", ())) for line in lines] == [1, 1, 0]
    mask = decode_mask((tmp_path / "out" / lines[0]["mask"]).read_bytes())
    np.testing.assert_array_equal(mask, frame(LARGE)[..., 0] > 0)


def test_boxes_and_probabilities_are_drawn_over_the_frame(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out", objects=2)
    overlay = decode_image((tmp_path / "out" / "things/overlays/00000.jpg").read_bytes())
    left, top, width, height = LARGE
    # JPEG blurs lines of a pixel, so hues are compared: the box is yellow, dots are blue.
    edge = overlay[top + 8, left - 2 : left + 2].astype(int)
    assert (edge[:, 0] - edge[:, 2]).max() > 60
    cell_row, cell_column = (top + height // 2) // 16, (left + width // 2) // 16
    dot = overlay[cell_row * 16 + 8, cell_column * 16 + 8].astype(int)
    assert dot[2] - dot[0] > 60


def test_each_objects_outline_is_refined_where_that_is_asked_for(folder, tmp_path):
    run(BrightObjects(mask=0.7), [folder], tmp_path / "out", objects=2, crf=True)
    found = read_coco(tmp_path / "out")
    large, small = found.loadAnns(found.getAnnIds(imgIds=[1]))
    assert large["area"] == pytest.approx(1800, rel=0.1)
    assert small["area"] == pytest.approx(800, rel=0.1)


def test_earlier_detections_are_deleted_where_the_next_method_has_none(folder, tmp_path):
    run(BrightObjects(), [folder], tmp_path / "out")
    assert (tmp_path / "out" / "detections.json").exists()
    run(BrightIsForeground(), [folder], tmp_path / "out")
    assert not (tmp_path / "out" / "detections.json").exists()
    assert all("detections" not in line for line in read_lines(tmp_path / "out"))


def test_only_what_looks_for_objects_can_be_asked_for_several(folder, tmp_path):
    with pytest.raises(UsageError, match=r"--objects 2: .* finds no objects one by one"):
        run(BrightIsForeground(), [folder], tmp_path / "out", objects=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("crf", [False, True])
def test_faint_masks_are_foreground_above_a_threshold_that_is_given(folder, tmp_path, crf):
    areas = []
    for threshold in (0.5, 0.2):
        out = tmp_path / f"{threshold}"
        run(BrightObjects(mask=0.3), [folder], out, threshold=threshold, crf=crf)
        areas.append(read_lines(out)[0]["foreground_share"])
    assert areas[0] == 0
    assert areas[1] == pytest.approx(1800 / (96 * 128), rel=0.1)


def test_a_threshold_lies_between_0_and_1(folder, tmp_path):
    with pytest.raises(UsageError, match=r"--threshold 1\.0: give a value between 0 and 1"):
        run(BrightObjects(), [folder], tmp_path / "out", threshold=1.0)
