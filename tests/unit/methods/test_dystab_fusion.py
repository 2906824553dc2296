from dataclasses import replace

import pytest
import torch

from selfseg.contracts import FramePairs
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.fusion import fuse, static_share
from tests.unit.methods.test_dystab_bootstrap import SMALL
from tests.unit.methods.test_dystab_dynamic import SMALL as DYNAMIC
from tests.unit.methods.test_dystab_dynamic import discs


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(2)


@pytest.fixture(scope="module")
def model() -> DynamicModel:
    return DynamicModel(DYNAMIC.override({"psi": "affine", "flow_unit": "relative"}))


def moving(batch: FramePairs) -> torch.Tensor:
    """Return the discs: all that moves otherwise than the camera."""
    return ((batch.flow - batch.camera).norm(dim=1, keepdim=True) > 0.5).float()


def test_fusion_keeps_the_threshold_and_logits_let_the_surer_one_decide():
    halves = torch.full((2, 2), 0.5)
    for rule in ("product", "logits", "contrast"):
        torch.testing.assert_close(fuse(halves, halves, rule=rule), halves)
    sure, unsure = torch.tensor([[0.9]]), torch.tensor([[0.4]])
    odds = (9 * 2 / 3) ** 0.5
    expected = torch.tensor([[odds / (1 + odds)]])
    torch.testing.assert_close(fuse(sure, unsure, rule="logits"), expected)
    torch.testing.assert_close(fuse(sure, unsure, rule="product"), torch.tensor([[0.6]]))


def test_chis_share_is_its_part_of_the_mean_of_logits():
    sure, unsure = torch.tensor([[0.9]]), torch.tensor([[0.4]])
    odds = 9**0.75 * (2 / 3) ** 0.25
    expected = torch.tensor([[odds / (1 + odds)]])
    torch.testing.assert_close(fuse(sure, unsure, 0.25, rule="contrast"), expected)


def test_chi_cannot_overrule_a_mask_that_the_motion_speaks_for(batch, model):
    frame = alone(batch, 0)
    mask = moving(frame)[0, 0]
    share = static_share(model, frame, mask)
    # Around the disc psi is right; of its error there only Charbonnier's constant is left.
    assert share < 0.02
    phi, chi = 0.1 + 0.8 * mask, torch.zeros_like(mask)
    assert torch.equal((fuse(phi, chi, share, rule="contrast") > 0.5).float(), mask)
    assert not (fuse(phi, chi, rule="logits") > 0.5).any()


def test_chi_weighs_as_much_as_phi_where_phi_finds_nothing_that_moves_otherwise(batch, model):
    nothing = torch.zeros_like(batch.flow[0, 0])
    assert static_share(model, batch, nothing) == 0.5


def test_a_frame_is_fused_by_the_mean_share_of_its_motions(monkeypatch):
    frame = discs(2)
    whole = Bootstrap(SMALL.override({"fusion": "contrast", "dynamic.psi": "affine"}))
    # It is the first motion's disc; the second one's lies elsewhere in part.
    mask = 0.9 * moving(frame)[0, 0]
    monkeypatch.setattr(whole.dynamic, "segment", lambda frame, view: mask)
    shares = [static_share(whole.dynamic, alone(frame, k), mask).item() for k in range(2)]
    assert shares[0] < 0.5 * shares[1]
    expected = fuse(mask, whole.segment(frame, "static"), sum(shares) / 2, rule="contrast")
    torch.testing.assert_close(whole.segment(frame, "fused"), expected)


def alone(frame: FramePairs, number: int) -> FramePairs:
    part = slice(number, number + 1)
    return replace(
        frame,
        image=frame.image[part],
        flow=frame.flow[part],
        flow_back=frame.flow_back[part],
        camera=frame.camera[part],
        camera_back=frame.camera_back[part],
    )
