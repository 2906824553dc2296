from dataclasses import replace

import pytest
import torch
from torch import Generator

from selfseg.contracts import FramePairs
from selfseg.errors import UsageError
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.config import BootstrapConfig
from selfseg.methods.dystab.static_objective import f_measure
from selfseg.ops.masks import resize
from tests.unit.methods.test_dystab_dynamic import discs

SMALL = BootstrapConfig.model_validate(
    {
        "dynamic": {
            "segmenter": "unet",
            "unet_width": 8,
            "psi": "affine_residual",
            "segmenter_turns": 2,
        },
        "static": {"network": "pyramid", "encoder": "squeezenet1_0"},
        "initial_steps": 4,
        "rounds": 2,
        "static_steps": 3,
        "dynamic_steps": 5,
        "round_rate": 0.5,
    }
)


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(2)


def terms_of(
    model: Bootstrap, player: str, batch: FramePairs, step: int
) -> tuple[torch.Tensor, dict[str, float]]:
    objective = model.objective(player, batch, step, Generator())
    return objective.loss, {name: term.item() for name, term in objective.terms.items()}


def test_players_take_turns_as_algorithm_1_says():
    model = Bootstrap(SMALL)
    phi, psi, chi = "segmenter", "inpainter", "static"
    one_round = [chi] * 3 + [phi, phi, psi, phi, phi]
    turns = [model.player_at(step) for step in range(20)]
    assert turns == [phi, phi, psi, phi, *one_round, *one_round]


def test_each_round_ends_in_models_that_are_kept():
    kept = {phase.completes: phase.stop for phase in Bootstrap(SMALL).phases}
    assert kept == {0: 4, None: 15, 1: 12, 2: 20}


def test_a_first_training_is_at_the_full_rate_and_later_ones_at_their_share():
    rates = [phase.rate for phase in Bootstrap(SMALL).phases]
    assert rates == [1, 1, 0.5, 0.5, 0.5]


def test_the_earlier_static_model_changes_when_a_round_begins_and_at_no_other_step(batch):
    model = Bootstrap(SMALL)

    def is_copy() -> bool:
        now, before = (dict(model.players[p].named_parameters()) for p in ("static", "earlier"))
        return all(torch.equal(now[name], before[name]) for name in now)

    for parameter in model.players["static"].parameters():
        parameter.data.add_(1.0)
    copied = []
    for step in range(20):
        model.prepare(step)
        if is_copy():
            copied.append(step)
        for parameter in model.players["static"].parameters():
            parameter.data.add_(1.0)
    assert copied == [4, 12]


def test_the_earlier_static_model_never_learns():
    earlier = Bootstrap(SMALL).players["earlier"]
    assert not any(parameter.requires_grad for parameter in earlier.parameters())


def test_first_the_earlier_model_is_not_heard_and_later_it_is(batch):
    model = Bootstrap(
        SMALL.override({"static.delta": 0.0, "static.first_delta": 0.0, "static.lambda_f": 0.7})
    )
    first_loss, first = terms_of(model, "static", batch, 4)
    assert first["with_earlier"] == 0
    later_loss, later = terms_of(model, "static", batch, 12)
    assert later["with_earlier"] > 0
    # chi' has chi's weights here, so the motion speaks for phi's mask beside chi's own.
    motion, own = (
        model.dynamic.separation_of(batch, masks)
        for masks in (model.dynamic.masks(batch), model.static.masks(batch.image))
    )
    background, foreground = model.players["static"](batch.image).chunk(2, 1)
    seen = (foreground - background).sigmoid()
    f = f_measure(seen, model.dynamic.masks(batch), alpha_squared=1.5)
    agreement = f_measure(seen, model.static.masks(batch.image), alpha_squared=1.5)
    torch.testing.assert_close(first_loss, -(motion * f).mean())
    gain = 0.7 * agreement + (motion - own).clamp_min(0) * f
    torch.testing.assert_close(later_loss, -gain.mean())


def test_chis_lesson_leaves_no_gradient_in_phi_psi_and_its_earlier_self(batch):
    model = Bootstrap(SMALL)
    loss, _ = terms_of(model, "static", batch, 12)
    loss.backward()
    moved = {
        name
        for name, player in model.players.items()
        if any(parameter.grad is not None for parameter in player.parameters())
    }
    assert moved == {"static"}


def test_phis_lesson_leaves_no_gradient_in_chi(batch):
    model = Bootstrap(SMALL)
    loss, _ = terms_of(model, "segmenter", batch, 7)
    loss.backward()
    assert all(p.grad is None for p in model.players["static"].parameters())
    assert any(p.grad is not None for p in model.players["segmenter"].parameters())


def test_in_a_round_phi_also_maximises_its_agreement_with_chi(batch):
    model = Bootstrap(SMALL.override({"lambda_obj": 0.4}))
    alone, _ = terms_of(model, "segmenter", batch, 0)
    together, terms = terms_of(model, "segmenter", batch, 7)
    _, logits = model.dynamic.hide(batch, 7)
    seen = resize(model.static.masks(batch.image), *logits.shape[-2:])
    agreement = f_measure(logits.sigmoid(), seen, alpha_squared=1.5).mean()
    torch.testing.assert_close(together, alone - 0.4 * agreement)
    assert terms["with_static"] == pytest.approx(agreement.item())


def test_each_view_sees_what_it_should(batch):
    model = Bootstrap(SMALL)
    still = replace(batch, flow=0 * batch.flow, flow_back=0 * batch.flow_back)
    static = model.segment(batch, "static")
    torch.testing.assert_close(static, model.segment(still, "static"))
    torch.testing.assert_close(static, model.static.masks(batch.image[:1])[0, 0])
    other = replace(batch, image=1 - batch.image)
    dynamic = model.segment(batch, "dynamic")
    torch.testing.assert_close(dynamic, model.segment(other, "dynamic"))
    fused = model.segment(batch, "fused")
    torch.testing.assert_close(fused, (dynamic * static).sqrt())


def test_a_deeplab_needs_a_resnet():
    with pytest.raises(UsageError, match=r"^setting method\.static\.encoder: deeplab needs"):
        Bootstrap(SMALL.override({"static.network": "deeplab"}))
