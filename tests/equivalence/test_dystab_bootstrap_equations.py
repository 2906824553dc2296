"""Eq. 7 and 8 of DyStaB as Algorithm 1 plays them, against NumPy: the networks alone are shared.

And whom each player's gradients reach.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from selfseg.contracts import FramePairs
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.static_objective import f_measure
from selfseg.training.loop import Cast
from selfseg.training.worker import AcceleratedWorker
from tests.unit.methods.test_dystab_bootstrap import SMALL
from tests.unit.methods.test_dystab_dynamic import discs

HEIGHT, WIDTH = 48, 64
GAME = SMALL.override(
    {
        "dynamic.psi": "network",
        "dynamic.lambda_tc": -0.3,
        "static.lambda_f": 0.7,
        "static.alpha_squared": 0.8,
        "lambda_obj": 0.4,
    }
)
FIRST, LATER, TOGETHER = 4, 12, 7
"""Steps of chi's first and second training, and of phi in a round."""

INITIAL = 0
"""A step of phi before the first round."""


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(2)


def decided(**settings: Any) -> Bootstrap:
    """Return a game of three masks that are not even; those of phi and chi are backgrounds."""
    torch.manual_seed(1)
    model = Bootstrap(GAME.override(settings))
    for name, bias in (("segmenter", 1.0), ("static", 1.5), ("earlier", -3.0)):
        head = model.players[name].get_submodule("head")
        assert isinstance(head, nn.Conv2d)
        assert head.bias is not None
        nn.init.normal_(head.weight, std=0.1)
        with torch.no_grad():
            head.bias.copy_(torch.tensor([0.0, bias]))
    model.players.requires_grad_(True)
    return model


def loss_of(model: Bootstrap, player: str, batch: FramePairs, step: int) -> Tensor:
    return model.objective(player, batch, step, Generator()).loss


@torch.no_grad()
def answer(player: nn.Module, *arguments: np.ndarray) -> np.ndarray:
    return player(*(torch.from_numpy(each).float() for each in arguments)).double().numpy()


def mean(values: np.ndarray) -> np.ndarray:
    return values.mean((1, 2, 3))


def foreground(logits: np.ndarray) -> np.ndarray:
    """Softmax of two channels, the second of them."""
    powers = np.exp(logits)
    return powers[:, 1:] / powers.sum(1, keepdims=True)


def seen_by(model: Bootstrap, player: str, image: np.ndarray) -> np.ndarray:
    return foreground(answer(model.players[player], image))


def moving_by(model: Bootstrap, flow: np.ndarray) -> np.ndarray:
    """phi(u): it is shown flow of no mean and of unit spread."""
    spread = flow.std((2, 3), ddof=1, keepdims=True) + 1e-3
    shown = (flow - flow.mean((2, 3), keepdims=True)) / spread
    return foreground(answer(model.players["segmenter"], shown))


def on_foreground_side(masks: np.ndarray) -> np.ndarray:
    """Invert what covers 60 % of a border 2 pixels wide."""
    border = np.pad(np.zeros((HEIGHT - 4, WIDTH - 4), dtype=bool), 2, constant_values=True)
    return np.stack([1 - m if (m[0, border] > 0.5).mean() >= 0.6 else m for m in masks])


def lengths(flow: np.ndarray) -> np.ndarray:
    return np.sqrt((flow**2).sum(1, keepdims=True) + 1e-6)


def slow_separation(model: Bootstrap, batch: FramePairs, inside: np.ndarray) -> np.ndarray:
    """L_A, Eq. 3, in units of 80 pixels of 854."""
    flow, image = batch.flow.double().numpy() / (80 / 854 * WIDTH), batch.image.numpy()
    total = np.zeros(len(inside))
    for region in (inside, 1 - inside):
        # psi multiplies the flow by the context itself.
        guess = answer(model.players["inpainter"], flow, 1 - region, image)
        total += mean(region * lengths(flow - guess)) / (mean(region * lengths(flow)) + 5e-4)
    return total


def slow_f(prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """F_alpha, Eq. 6, for alpha^2 = 0.8."""
    precision = mean(prediction * mask) / mean(prediction)
    recall = mean(prediction * mask) / mean(mask)
    return 1.8 * precision * recall / (0.8 * precision + recall)


def carried(values: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What lies at x + flow(x), bilinear; beyond the edge the edge's value goes on."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    moved = np.empty_like(values)
    for one, motion, result in zip(values, flow, moved, strict=True):
        x = np.clip(columns + motion[0], 0, WIDTH - 1)
        y = np.clip(rows + motion[1], 0, HEIGHT - 1)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        right, bottom = np.minimum(left + 1, WIDTH - 1), np.minimum(top + 1, HEIGHT - 1)
        upper = one[:, top, left] * (1 - x + left) + one[:, top, right] * (x - left)
        lower = one[:, bottom, left] * (1 - x + left) + one[:, bottom, right] * (x - left)
        result[:] = upper * (1 - y + top) + lower * (y - top)
    return moved


def seen_again(flow: np.ndarray, flow_back: np.ndarray) -> np.ndarray:
    """Where there and back leads home within what the lengths of both allow, inside the image."""
    back = carried(flow_back, flow)
    squares = (flow**2).sum(1, keepdims=True) + (back**2).sum(1, keepdims=True)
    home = ((flow + back) ** 2).sum(1, keepdims=True) <= 0.01 * squares + 0.5
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = columns + flow[:, :1], rows + flow[:, 1:]
    return home & (x >= 0) & (x <= WIDTH - 1) & (y >= 0) & (y <= HEIGHT - 1)


def slow_inconsistency(batch: FramePairs, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """L_TC, Eq. 4."""
    flow, flow_back = batch.flow.double().numpy(), batch.flow_back.double().numpy()
    forward = seen_again(flow, flow_back) * np.abs(first - carried(second, flow))
    backward = seen_again(flow_back, flow) * np.abs(second - carried(first, flow_back))
    return mean(forward + backward)


@pytest.mark.parametrize(("believed", "margin"), [(2, -0.5), (1, 0.0), (0, 0.5)])
def test_chi_first_maximises_f_alpha_by_what_the_motion_says(batch, believed, margin):
    image = batch.image.numpy()
    model = decided()
    mask = on_foreground_side(moving_by(model, batch.flow.double().numpy()))
    says = slow_separation(model, batch, mask)
    delta = float(says.mean() + margin)
    weight = np.maximum(says - delta, 0)
    assert np.count_nonzero(weight) == believed
    expected = -(weight * slow_f(seen_by(model, "static", image), mask)).mean()
    found = loss_of(decided(**{"static.first_delta": delta}), "static", batch, FIRST)
    assert found.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("believed", "margin"), [(2, -0.5), (1, 0.0), (0, 0.5)])
def test_chi_later_maximises_equation_7(batch, believed, margin):
    image = batch.image.numpy()
    model = decided()
    mask = on_foreground_side(moving_by(model, batch.flow.double().numpy()))
    earlier = on_foreground_side(seen_by(model, "earlier", image))
    says = slow_separation(model, batch, mask) - slow_separation(model, batch, earlier)
    delta = float(says.mean() + margin)
    weight = np.maximum(says - delta, 0)
    assert np.count_nonzero(weight) == believed
    seen = seen_by(model, "static", image)
    expected = -(0.7 * slow_f(seen, earlier) + weight * slow_f(seen, mask)).mean()
    found = loss_of(decided(**{"static.delta": delta}), "static", batch, LATER)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_phi_maximises_equation_5_and_in_a_round_equation_8(batch):
    model = decided()
    first = moving_by(model, batch.flow.double().numpy())
    second = moving_by(model, batch.flow_back.double().numpy())
    motion = slow_separation(model, batch, first) - 0.3 * slow_inconsistency(batch, first, second)
    static = on_foreground_side(seen_by(model, "static", batch.image.numpy()))
    joint = motion + 0.4 * slow_f(first, static)
    alone, together = (loss_of(model, "segmenter", batch, step) for step in (INITIAL, TOGETHER))
    assert alone.item() == pytest.approx(-motion.mean(), abs=1e-5)
    assert together.item() == pytest.approx(-joint.mean(), abs=1e-5)


def reached(model: Bootstrap, loss: Tensor) -> set[str]:
    """Name the players that `loss` has a gradient for; none of them is frozen."""
    names = []
    for name, player in model.players.items():
        slopes = torch.autograd.grad(
            loss, list(player.parameters()), retain_graph=True, allow_unused=True
        )
        names += [name for slope in slopes if slope is not None]
    return set(names)


@pytest.mark.parametrize("step", [FIRST, LATER])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "static.likeness": "f_measure_and_entropy",
            "static.confidence": "contrast",
            "static.refinement": 0.5,
            "static.refined": "fused",
        },
    ],
    ids=["the paper's", "others"],
)
def test_labels_and_their_weights_let_no_gradient_of_chi_through(batch, settings, step):
    model = decided(**settings)
    assert reached(model, loss_of(model, "static", batch, step)) == {"static"}


@pytest.mark.parametrize("step", [INITIAL, TOGETHER])
def test_psi_reaches_nobody_and_phi_only_its_adversary_whom_the_loop_freezes(batch, step):
    model = decided()
    assert reached(model, loss_of(model, "inpainter", batch, step)) == {"inpainter"}
    game = {"segmenter", "inpainter"}
    assert reached(model, loss_of(model, "segmenter", batch, step)) == game
    cast = Cast(model.players, AcceleratedWorker())
    with cast.turn("segmenter") as parameters:
        loss_of(model, "segmenter", batch, step).backward()
    moved = {id(p) for p in model.players.parameters() if p.grad is not None}
    assert moved == {id(p) for p in parameters}


def test_chi_cannot_raise_the_weight_nor_lower_the_label_even_where_it_is_its_own_teacher(batch):
    """With chi in the place of chi', its gradient is that for labels and weights of mere numbers.

    Its mask is that of a background, so that the label is another.
    """
    model = decided(**{"static.delta": -1.0})
    model.players["earlier"] = model.players["static"]
    parameters = list(model.players["static"].parameters())
    found = torch.autograd.grad(loss_of(model, "static", batch, LATER), parameters)

    label = torch.from_numpy(on_foreground_side(seen_by(model, "static", batch.image.numpy())))
    mask = torch.from_numpy(on_foreground_side(moving_by(model, batch.flow.double().numpy())))
    says = [slow_separation(model, batch, each.numpy()) for each in (mask, label)]
    weight = torch.from_numpy(says[0] - says[1] + 1.0)
    seen = model.static.logits(batch.image).sigmoid().double()
    agreement, lesson = (f_measure(seen, each, alpha_squared=0.8) for each in (label, mask))
    gain = (0.7 * agreement + weight * lesson).mean()
    expected = torch.autograd.grad(-gain, parameters)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("likeness", ["f_measure", "f_measure_and_entropy"])
@pytest.mark.parametrize("phi", [-100.0, 100.0])
def test_masks_of_nothing_and_everything_at_rest_leave_every_loss_and_gradient_finite(
    batch, likeness, phi
):
    still = replace(batch, flow=0 * batch.flow, flow_back=0 * batch.flow_back)
    model = decided(**{"static.likeness": likeness})
    biases = {
        name: model.players[name].get_parameter("head.bias") for name in ("segmenter", "static")
    }
    for chi in (-100.0, 100.0):
        with torch.no_grad():
            biases["segmenter"][1], biases["static"][1] = phi, chi
        for player, step in (("static", FIRST), ("static", LATER), ("segmenter", TOGETHER)):
            loss = loss_of(model, player, still, step)
            slopes = torch.autograd.grad(loss, list(model.players[player].parameters()))
            assert loss.isfinite()
            assert all(slope.isfinite().all() for slope in slopes)
