"""The supervised baseline, with random weights whose last layers say what must come out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

from selfseg.cli import main
from selfseg.contracts import Detector
from selfseg.errors import UserError
from selfseg.methods.mask_rcnn import MaskRCNN
from selfseg.ops.boxes import covered
from selfseg.prediction.benchmarks import find_benchmark
from selfseg.prediction.evaluate import evaluate, record
from selfseg.prediction.subjects import Subject
from tests.unit.prediction.trees import block, write_picture

CPU = torch.device("cpu")
CLASSES = 91
LOGIT = 3.0
"""Of the only class that anything is taken for; that of all others is 0."""

INSIDE = 2.0
"""Logit of the mask, everywhere in a box."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Save a network that takes every proposal as it is for class 7, and fills it."""
    torch.manual_seed(0)
    state = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict()
    for layer in ("box_predictor.cls_score", "box_predictor.bbox_pred"):
        state[f"roi_heads.{layer}.weight"].zero_()
        state[f"roi_heads.{layer}.bias"].zero_()
    state["roi_heads.box_predictor.cls_score.bias"][7] = LOGIT
    state["roi_heads.mask_predictor.mask_fcn_logits.weight"].zero_()
    state["roi_heads.mask_predictor.mask_fcn_logits.bias"].fill_(INSIDE)
    path = tmp_path_factory.mktemp("weights") / "mask_rcnn.pt"
    torch.save(state, path)
    return str(path)


def quick(weights: str, device: torch.device) -> MaskRCNN:
    """Let it look at images 64 pixels high, not 800."""
    loaded = MaskRCNN(weights, device)
    transform: Any = loaded.network.transform
    transform.min_size = (64,)
    return loaded


@pytest.fixture
def detector(weights: str) -> MaskRCNN:
    return quick(weights, CPU)


@torch.inference_mode()
def test_what_it_is_surest_of_is_found_whatever_its_class(detector):
    assert isinstance(detector, Detector)
    found = detector.detect(torch.rand(3, 48, 80), objects=2)
    expected = np.exp(LOGIT) / (np.exp(LOGIT) + CLASSES - 1)
    assert found.confidence.tolist() == pytest.approx([expected] * 2, abs=1e-4)
    left, top, width, height = found.boxes.unbind(1)
    assert (found.boxes >= 0).all()
    assert (left + width <= 1 + 1e-6).all()
    assert (top + height <= 1 + 1e-6).all()
    assert (found.cells == torch.arange(2)).all()
    torch.testing.assert_close(found.centres, torch.stack([left + width / 2, top + height / 2], 1))


@torch.inference_mode()
def test_its_mask_lies_in_its_box_and_its_control_fills_it(detector):
    found = detector.detect(torch.rand(3, 48, 80))
    left, top, width, height = found.boxes.unbind(1)
    box = torch.stack([left + width / 2, top + height / 2, width, height], 1)
    torch.testing.assert_close(found.bumps, covered(box, 48, 80)[:, 0])
    probability = torch.sigmoid(torch.tensor(INSIDE))
    core = torch.cat([box[:, :2], box[:, 2:] * 0.7], 1)
    inside = covered(core, 48, 80)[:, 0].bool()
    assert inside.any()
    torch.testing.assert_close(found.masks[inside], probability.expand(int(inside.sum())))
    around = torch.cat([box[:, :2], box[:, 2:] + 0.1], 1)
    assert (found.masks[~covered(around, 48, 80)[:, 0].bool()] == 0).all()


@torch.inference_mode()
def test_where_it_is_unsure_of_everything_nothing_is_found(detector):
    detector.network.roi_heads.box_predictor.cls_score.bias.zero_()  # 1 / 91 each
    found = detector.detect(torch.rand(3, 48, 80))
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == found.bumps.shape == (0, 48, 80)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(
        UserError, match=r"other\.pt: not the weights of a maskrcnn_resnet50_fpn_v2"
    ):
        MaskRCNN(str(tmp_path / "other.pt"), CPU)


def test_weights_are_fetched_from_where_they_are_published(monkeypatch):
    asked = []

    def download(url: str) -> dict[str, torch.Tensor]:
        asked.append(url)
        return {}

    monkeypatch.setattr("selfseg.methods.mask_rcnn.download_weights", download)
    for source in ("torchvision", "https://example.com/mask_rcnn.pth"):
        with pytest.raises(UserError):
            MaskRCNN(source, CPU)
    assert asked[0].endswith("maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth")
    assert asked[1] == "https://example.com/mask_rcnn.pth"


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    for name, mask in (("left", block(4, 2, 12)), ("right", block(8, 18, 12))):
        write_picture(tmp_path / "images" / f"{name}.png", mask[..., None] * np.full(3, 250))
        write_picture(tmp_path / "masks" / f"{name}.png", mask * 255)
    return tmp_path


def test_it_is_scored_as_any_detector_and_named_supervised(weights, stills, monkeypatch):
    monkeypatch.setattr("selfseg.prediction.baselines.MaskRCNN", quick)
    benchmark = find_benchmark(root=str(stills), benchmark="stills")
    subject = Subject(baseline="mask-rcnn", weights=weights)
    scores = evaluate(subject, benchmark, processes=1, console=Console(quiet=True))
    entry = record(subject, benchmark, scores)
    assert entry["title"] == "mask-rcnn (supervised)"
    assert entry["weights"] == weights
    assert {"iou_mean", "j_bump", "box_hit", "box_iou", "box_iou50", "map50"} <= set(entry)
    assert 0 <= entry["box_iou"] <= 1


def test_its_weights_are_given_to_no_other_baseline(capsys):
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--baseline", "centre", "--root", "x", "--baseline-weights", "w.pt"])
    assert end.value.code == 2
    assert "these are of --baseline mask-rcnn" in capsys.readouterr().err
