"""Eq. 5 and 6: expectations over draws, enumerated; numbers of the draws themselves, counted."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.grid import live_cells
from selfseg.methods.proposal.objective import advantage
from selfseg.methods.proposal.sampling import (
    Draw,
    draw_cells,
    exploring,
    gumbel_draw,
    importance_draw,
)

MANY = 40_000
"""Draws: enough for every cell to come up, and for frequencies within a few hundredths."""

CONFIG = ProposalConfig.model_validate(
    {
        "inpainters": {},
        "detector": {"architecture": "small", "weights": "none", "cells": 5},
        "autoencoder": {},
        "perceptual": {"network": "none"},
        "proposal_steps": 1,
    }
)
LIVE = live_cells(CONFIG.detector, torch.device("cpu"))
"""The inner 9 of 25."""

Law = Callable[[Tensor], Tensor]


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def settings(**changes: Any) -> ProposalConfig:
    return CONFIG.override(changes)


def random_logits(images: int, *, sharpness: float = 1.5, seed: int = 3) -> Tensor:
    drawn = torch.randn(images, len(LIVE), dtype=torch.float64, generator=generator(seed))
    return (sharpness * drawn).requires_grad_()


def probability_of(logits: Tensor) -> Tensor:
    return logits.masked_fill(~LIVE, -math.inf).softmax(1)


def weights_at_each_cell(probability: Tensor, draw: Callable[[Tensor], Draw]) -> Tensor:
    """Draw for one image until every cell came up; return each one's weight, dead cells' 0."""
    many = draw(probability.expand(MANY, -1))
    cells = many.cells[:, 0].tolist()
    live = LIVE.nonzero()[:, 0].tolist()
    assert set(cells) == set(live)
    weights = many.weight[[cells.index(cell) for cell in live], 0]
    return torch.zeros_like(probability[0]).index_put((LIVE,), weights)


def arbitrary(probability: Tensor) -> Tensor:
    """A law of its own, which even depends on p; no gradient may pass through it."""
    drawn = torch.rand(1, len(LIVE), dtype=torch.float64, generator=generator(5)) + 0.2
    wild = drawn * LIVE * (1 + probability)
    return wild / wild.sum(1, keepdim=True)


LAWS: dict[str, Law] = {
    "importance": lambda p: exploring(p, LIVE, 0.01),
    "exploring": lambda p: exploring(p, LIVE, 0.3),
    "uniform": lambda p: exploring(p, LIVE, 1.0),
    "arbitrary": arbitrary,
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_averaged_over_its_own_law_it_is_equation_2_in_value_and_in_every_gradient(law):
    """Those of p, and those of whatever a cell's cost depends on."""
    logits = random_logits(1)
    places = torch.linspace(-1, 2, len(LIVE), dtype=torch.float64).requires_grad_()
    cost = (places - 0.3).square()
    probability = probability_of(logits)
    q = law(probability)
    exact = (probability[0] * cost).sum()
    weights = weights_at_each_cell(
        probability, lambda p: importance_draw(p, q.expand(len(p), -1), generator())
    )
    average = (q.detach()[0] * weights * cost).sum()
    torch.testing.assert_close(average, exact)
    wanted = torch.autograd.grad(exact, (logits, places), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(average, (logits, places)), wanted)
    assert wanted[0].abs().max() > 0.01


def test_the_whole_sum_is_one_draw_of_all_live_cells_weighted_by_p():
    probability = probability_of(random_logits(2))
    draw = draw_cells(probability, LIVE, settings(sampling="all"), generator())
    assert draw.cells.tolist() == 2 * [[6, 7, 8, 11, 12, 13, 16, 17, 18]]
    assert torch.equal(draw.weight, probability[:, LIVE])
    assert draw.weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "law"),
    [
        ({"sampling": "importance", "exploration": 0.3}, LAWS["exploring"]),
        ({"sampling": "importance", "exploration": 0.01}, LAWS["importance"]),
        ({"sampling": "uniform"}, LAWS["uniform"]),
    ],
    ids=["exploring", "importance", "uniform"],
)
def test_each_setting_draws_from_its_law_and_weighs_by_p_over_it(changes, law):
    probability = probability_of(random_logits(1)).detach()
    many = probability.expand(MANY, -1)
    draw = draw_cells(many, LIVE, settings(**changes), generator())
    q = law(probability)[0]
    assert draw.cells.shape == draw.weight.shape == (MANY, 1)
    ratio = probability[0] / q
    torch.testing.assert_close(draw.weight[:, 0], ratio[draw.cells[:, 0]])
    assert_frequencies(draw, q)


def test_a_gumbel_draw_is_from_p_too():
    probability = probability_of(random_logits(1)).detach()
    draw = draw_cells(probability.expand(MANY, -1), LIVE, settings(sampling="gumbel"), generator())
    assert_frequencies(draw, probability[0])
    torch.testing.assert_close(draw.weight, torch.ones_like(draw.weight))


def assert_frequencies(draw: Draw, q: Tensor) -> None:
    """Each within five standard errors; no cell has it all, as under an argmax."""
    found = draw.cells[:, 0].bincount(minlength=len(q)) / len(draw.cells)
    error = (q * (1 - q) / len(draw.cells)).sqrt()
    assert ((found - q).abs() <= 5 * error).all()
    assert found[q == 0].sum() == 0
    assert found.max() < 0.9


def test_each_image_draws_for_itself():
    peaks = torch.tensor([6, 12, 18])
    logits = torch.full((3, len(LIVE)), -30.0).scatter(1, peaks.unsqueeze(1), 30.0)
    for sampling in ("importance", "gumbel"):
        config = settings(sampling=sampling, exploration=1e-6)
        draw = draw_cells(probability_of(logits), LIVE, config, generator())
        assert draw.cells[:, 0].tolist() == peaks.tolist()


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_exploring_mixes_in_a_uniform_law_over_live_cells_and_no_others(share):
    """Eq. 6: q = p (1 - C epsilon) + epsilon, with C the live cells and C epsilon the share."""
    sure = probability_of(torch.zeros(1, len(LIVE)).index_fill(1, torch.tensor([12]), 200.0))
    for probability in (probability_of(random_logits(1)).detach(), sure):
        q = exploring(probability, LIVE, share)
        epsilon = share / 9
        torch.testing.assert_close(q[:, LIVE], probability[:, LIVE] * (1 - 9 * epsilon) + epsilon)
        assert q[:, LIVE].min() >= epsilon * (1 - 1e-6)
        assert q[:, ~LIVE].abs().max() == 0
        assert q.sum().item() == pytest.approx(1)


def test_the_mean_of_many_draws_is_the_whole_sum_within_its_standard_error():
    probability = probability_of(random_logits(1)).detach()
    cost = torch.linspace(0.5, 3, len(LIVE), dtype=torch.float64)
    everything = draw_cells(probability, LIVE, settings(sampling="all"), generator())
    exact = (everything.weight * cost[everything.cells]).sum()
    for sampling in ("importance", "uniform"):
        config = settings(sampling=sampling)
        draw = draw_cells(probability.expand(MANY, -1), LIVE, config, generator())
        estimates = (draw.weight * cost[draw.cells]).squeeze(1)
        error = estimates.std() / math.sqrt(MANY)
        assert abs(estimates.mean() - exact) < 4 * error
        assert error < exact / 50


def gradient_noise(
    logits: Tensor, law: Law, cost: Tensor, *, baseline: float = 0, wobble: float = 0
) -> float:
    """Variance of the one-draw estimate of Eq. 2's gradient in the logits, summed over them.

    Args:
        logits: of one image.
        law: from p to q.
        cost: of each cell.
        baseline: mean of what is subtracted from the cost, which other images decide.
        wobble: its variance.
    """
    probability = probability_of(logits)
    q = law(probability).detach()[0]
    weights = weights_at_each_cell(
        probability, lambda p: importance_draw(p, q.expand(len(p), -1), generator())
    )
    mean, square = torch.zeros_like(logits), 0.0
    for cell in LIVE.nonzero()[:, 0].tolist():
        (slope,) = torch.autograd.grad(weights[cell], logits, retain_graph=True)
        left = cost[cell] - baseline
        mean = mean + q[cell] * left * slope
        square += (q[cell] * (left.square() + wobble) * slope.square().sum()).item()
    (exact,) = torch.autograd.grad((probability[0] * cost).sum(), logits)
    torch.testing.assert_close(mean, exact)
    return square - exact.square().sum().item()


def peak(height: float) -> Tensor:
    """Return logits with which the middle cell has this probability, and the others its rest."""
    logit = math.log(height * 8 / (1 - height))
    middle = torch.tensor([12])
    return (
        torch.zeros(1, len(LIVE), dtype=torch.float64).index_fill(1, middle, logit).requires_grad_()
    )


OBJECT = torch.ones(len(LIVE), dtype=torch.float64).index_fill(0, torch.tensor([12]), 2.0)
"""Rewards of an image whose object lies in the middle cell."""


def batch_baseline(logits: Tensor, law: Law, others: int = 15) -> dict[str, float]:
    """Mean and variance of the mean reward of other images like this one."""
    q = law(probability_of(logits)).detach()[0]
    mean = (q * OBJECT).sum()
    variance = (q * (OBJECT - mean).square()).sum() / others
    return {"baseline": mean.item(), "wobble": variance.item()}


@pytest.mark.parametrize("centred", [False, True], ids=["rewards", "less those of the others"])
def test_where_p_has_a_peak_drawing_from_it_is_less_noisy_than_drawing_uniformly(centred):
    logits = peak(0.6)
    uniform, importance = (
        gradient_noise(
            logits, LAWS[name], OBJECT, **(batch_baseline(logits, LAWS[name]) if centred else {})
        )
        for name in ("uniform", "importance")
    )
    assert 0 < importance < 0.7 * uniform


def test_of_a_p_that_is_all_but_sure_uniform_draws_are_the_less_noisy_ones():
    """With d the probability that is not the peak's, and C cells.

    Draws from p meet another cell with chance d, and then a slope near 1: their variance falls as
    d. Uniform ones always meet slopes near d or less: theirs falls as C d^2. They cross near
    d = 2 / C, where p hardly has anything to learn.
    """
    noise = {name: gradient_noise(peak(0.99), LAWS[name], OBJECT) for name in LAWS}
    assert noise["uniform"] < noise["importance"] < 0.1


def test_subtracting_what_the_batchs_others_earn_leaves_the_gradient_and_less_noise():
    logits = peak(0.6)
    law = LAWS["importance"]
    plain = gradient_noise(logits, law, OBJECT)
    centred = gradient_noise(logits, law, OBJECT, **batch_baseline(logits, law))
    assert centred < plain / 4


class Game:
    """Four images of three cells each, small enough to enumerate all that may be drawn together.

    rewards: of each image's cells; the images differ in level and in spread
    """

    def __init__(self) -> None:
        self.logits = torch.randn(4, 3, dtype=torch.float64, generator=generator(7))
        self.logits.requires_grad_()
        self.probability = self.logits.softmax(1)
        self.law = exploring(self.probability, torch.ones(3, dtype=torch.bool), 0.2)
        spread = torch.tensor([0.3, 1.0, 2.0, 4.0], dtype=torch.float64).unsqueeze(1)
        drawn = torch.randn(4, 3, dtype=torch.float64, generator=generator(8))
        self.rewards = spread * drawn + torch.tensor([[1.0], [2.0], [0.0], [-1.0]])
        self.joint = list(itertools.product(range(3), repeat=4))
        self.exact = self.slope((self.probability * self.rewards).sum())

    def slope(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.logits, retain_graph=True)[0]

    def chance(self, cells: tuple[int, ...]) -> float:
        return math.prod(self.law[image, cell].item() for image, cell in enumerate(cells))

    def expected_slope(self, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """Average the gradient over all joint draws, rewards measured against each other."""
        total, images = torch.zeros_like(self.logits), torch.arange(4)
        for cells in self.joint:
            drawn = torch.tensor(cells)
            weight = self.probability[images, drawn] / self.law[images, drawn]
            earned = measure(self.rewards[images, drawn])
            total = total + self.chance(cells) * self.slope((weight * earned).sum())
        return total

    def mean_inverse_deviation(self, image: int) -> float:
        """Average 1 / deviation of the other three's rewards over what they may draw."""
        total = 0.0
        for cells in self.joint:
            others = [self.rewards[i, cell].item() for i, cell in enumerate(cells) if i != image]
            mean = sum(others) / 3
            deviation = math.sqrt(sum((other - mean) ** 2 for other in others) / 3)
            total += self.chance(cells) / deviation
        return total


def test_less_the_mean_of_the_batchs_others_the_gradient_is_unbiased():
    game = Game()

    def less_the_others(reward: Tensor) -> Tensor:
        return reward - (reward.sum() - reward) / (len(reward) - 1)

    torch.testing.assert_close(game.expected_slope(less_the_others), game.exact)


def test_less_the_mean_of_all_and_not_of_the_others_it_would_be_too_short():
    """Why a reward must not count in its own baseline: of four, a quarter of it is lost."""
    game = Game()
    found = game.expected_slope(lambda reward: reward - reward.mean())
    torch.testing.assert_close(found, 0.75 * game.exact)


def test_in_deviations_of_the_others_each_images_gradient_keeps_its_direction():
    """Not its length: that is the mean of 1 / deviation, and no two images need share it."""
    game = Game()
    found = game.expected_slope(advantage)
    lengths = [game.mean_inverse_deviation(image) for image in range(4)]
    factors = torch.tensor(lengths, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(found, factors * game.exact)
    assert min(lengths) > 0
    assert max(lengths) > 1.2 * min(lengths)


def test_advantage_knows_neither_the_level_nor_the_unit_of_rewards():
    rewards = torch.rand(6, dtype=torch.float64, generator=generator())
    torch.testing.assert_close(advantage(3 + 20 * rewards), advantage(rewards))


def test_fewer_than_three_rewards_have_no_deviation_to_be_measured_in():
    for count in (1, 2):
        rewards = torch.rand(count)
        assert torch.equal(advantage(rewards), rewards)


def test_a_gumbel_softmax_is_biased():
    """Of two cells as probable, one of which costs 1 and the other nothing.

    Eq. 2 has slope p (1 - p) = 1/4 in the first logit. The difference of the noises is logistic,
    of density f, so that the estimate's is the integral of f(z) s (1 - s) / T over z > 0, where
    the first is drawn, with s = sigmoid(z / T). For a low T that is f(0) / 2 = 1/8.
    """
    temperature = 0.1
    logits = torch.zeros(MANY, 2, dtype=torch.float64).requires_grad_()
    draw = gumbel_draw(logits.softmax(1), temperature, generator())
    cost = torch.tensor([1.0, 0.0], dtype=torch.float64)
    (slopes,) = torch.autograd.grad((draw.weight * cost[draw.cells]).sum(), logits)
    z = torch.linspace(0, 20, 200_001, dtype=torch.float64)
    soft = (z / temperature).sigmoid()
    density = z.sigmoid() * (1 - z.sigmoid())
    expected = torch.trapezoid(density * soft * (1 - soft) / temperature, z).item()
    assert expected == pytest.approx(1 / 8, rel=0.05)
    error = (slopes[:, 0].std() / math.sqrt(MANY)).item()
    found = slopes[:, 0].mean().item()
    assert abs(found - expected) < 4 * error
    assert abs(found - 1 / 4) > 20 * error


def test_gumbel_noise_draws_no_dead_cell_and_leaves_finite_gradients():
    logits = random_logits(1, sharpness=40)
    draw = gumbel_draw(probability_of(logits.float()).expand(2000, -1), 0.1, generator())
    assert LIVE[draw.cells].all()
    draw.weight.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
