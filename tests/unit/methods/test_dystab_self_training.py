from dataclasses import replace

import pytest
import torch
from torch import Generator, nn

from selfseg.contracts import FramePairs
from selfseg.methods.dystab.config import SelfTrainingConfig
from selfseg.methods.dystab.labels import LABEL_CRF, refined, split
from selfseg.methods.dystab.self_training import SelfTraining
from selfseg.methods.dystab.static_objective import f_measure
from selfseg.ops.crf import refine_batch
from selfseg.ops.masks import foreground_side
from tests.unit.methods.test_dystab_dynamic import discs

SMALL = SelfTrainingConfig.model_validate(
    {
        "static": {"network": "pyramid", "encoder": "squeezenet1_0", "alpha_squared": 0.8},
        "rounds": 2,
        "static_steps": 3,
    }
)


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(2)


def decided() -> SelfTraining:
    """Return chi and a chi' of masks that are not even, and that differ."""
    torch.manual_seed(1)
    model = SelfTraining(SMALL)
    for name, bias in (("static", 1.5), ("earlier", -1.0)):
        head = model.players[name].get_submodule("head")
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        nn.init.normal_(head.weight, std=0.3)
        with torch.no_grad():
            head.bias.copy_(torch.tensor([0.0, bias]))
    return model


def weights(model: SelfTraining, player: str) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.players[player].state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_chi_learns_the_refined_masks_of_its_earlier_self(batch):
    model = decided()
    objective = model.objective("static", batch, 0, Generator())
    chi, earlier = (
        (foreground - background).sigmoid()
        for background, foreground in (
            model.players[name](batch.image).chunk(2, 1) for name in ("static", "earlier")
        )
    )
    # The CRF of a CPU sees whole levels of colour.
    image = (255 * batch.image).round() / 255
    masks = refine_batch(image, foreground_side(earlier), LABEL_CRF.at_rows(image.shape[-2]))
    expected = f_measure(chi, masks, alpha_squared=0.8).mean()
    torch.testing.assert_close(objective.loss, -expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(objective.terms["refined_area"], masks.mean(), atol=1e-3, rtol=0)
    # It can tell these labels from others: chi' unrefined, and chi itself.
    for other in (foreground_side(earlier), foreground_side(chi)):
        assert abs(f_measure(chi, other, alpha_squared=0.8).mean() - expected) > 0.01


def test_its_lesson_leaves_no_gradient_in_the_labels(batch):
    model = decided()
    model.players.requires_grad_(True)
    model.objective("static", batch, 0, Generator()).loss.backward()
    assert all(p.grad is None for p in model.players["earlier"].parameters())
    assert any(p.grad is not None for p in model.players["static"].parameters())


def test_the_earlier_model_is_chi_as_a_round_began_and_never_learns(batch):
    model = SelfTraining(SMALL)
    assert not any(p.requires_grad for p in model.players["earlier"].parameters())
    optimiser = torch.optim.SGD(model.players["static"].parameters(), lr=0.1)
    began = weights(model, "earlier")
    for step in range(6):
        model.prepare(step)
        if step % 3 == 0:
            began = weights(model, "static")
        assert same(weights(model, "earlier"), began)
        optimiser.zero_grad()
        model.objective(model.player_at(step), batch, step, Generator()).loss.backward()
        optimiser.step()
        assert not same(weights(model, "static"), began)


def test_each_round_ends_in_a_model_that_is_kept():
    found = [(phase.start, phase.stop, phase.completes) for phase in SelfTraining(SMALL).phases]
    assert found == [(0, 3, 1), (3, 6, 2)]


def test_chi_is_all_it_sees_by(batch):
    model = decided()
    assert model.views == ("static",)
    mask = model.segment(batch, "static")
    torch.testing.assert_close(mask, model.static.masks(batch.image[:1])[0, 0])
    moved = replace(batch, flow=1 - batch.flow, flow_back=2 + batch.flow_back)
    torch.testing.assert_close(mask, model.segment(moved, "static"))


def test_a_mask_that_doubts_all_of_an_object_is_split_where_its_logits_are():
    mask = torch.full((2, 1, 20, 30), 0.05, dtype=torch.float64)
    mask[0, :, 5:15, 10:20] = 0.3
    mask[1, :, 5:15, 10:20] = 0.95
    found = split(mask)
    for one, before in zip(found, mask, strict=True):
        assert torch.equal(one > 0.5, before > 0.1)
    # All logits of a mask are shifted alike: what is known of one pixel beside another stays.
    shift = found.logit() - mask.logit()
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift))


def test_split_labels_are_what_chi_learns_where_the_settings_say_so(batch):
    model = decided()
    other = SelfTraining(SMALL.override({"threshold": "otsu"}))
    other.players.load_state_dict(model.players.state_dict())
    found = other.objective("static", batch, 0, Generator())
    masks = refined(batch.image, split(other.static.earlier_masks(batch.image)), stride=1)
    chi = other.static.logits(batch.image).sigmoid()
    torch.testing.assert_close(found.loss, -f_measure(chi, masks, alpha_squared=0.8).mean())
    assert found.loss != model.objective("static", batch, 0, Generator()).loss
