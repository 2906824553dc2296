"""Rates are functions of the step; every player has the optimiser its settings say."""

import math

import pytest
import torch
from torch import nn

from selfseg.config import Config
from selfseg.errors import UsageError
from selfseg.training.optimisers import (
    AdamConfig,
    OptimisersConfig,
    build_optimisers,
    learning_rate_at,
)


def players() -> nn.ModuleDict:
    frozen = nn.Linear(1, 1).requires_grad_(requires_grad=False)
    return nn.ModuleDict({"phi": nn.Linear(2, 1), "psi": nn.Linear(3, 1), "teacher": frozen})


def test_a_constant_rate_rises_during_the_warm_up_and_stays():
    config = AdamConfig(learning_rate=8.0, warmup_steps=4)
    rates = [learning_rate_at(step, config, 100) for step in (0, 1, 2, 3, 4, 99)]
    assert rates == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]


def test_a_cosine_falls_from_full_height_through_half_to_nothing():
    config = AdamConfig(learning_rate=2.0, schedule="cosine")
    assert learning_rate_at(0, config, 100) == 2.0
    assert learning_rate_at(50, config, 100) == pytest.approx(1.0)
    last = 1 + math.cos(math.pi * 0.99)
    assert learning_rate_at(99, config, 100) == pytest.approx(last)


def test_each_player_has_its_own_optimiser_and_the_rest_the_shared_one():
    config = OptimisersConfig(
        learning_rate=1e-3,
        weight_decay=0.1,
        players={"psi": AdamConfig(learning_rate=5e-4, betas=(0.5, 0.9))},
    )
    optimisers = build_optimisers(players(), config)
    settings = {
        name: (group["lr"], group["betas"], group["weight_decay"])
        for name, optimiser in optimisers.items()
        for group in optimiser.param_groups
    }
    # psi's are complete in themselves: its decay is the default, not the shared 0.1.
    assert settings == {"phi": (1e-3, (0.9, 0.999), 0.1), "psi": (5e-4, (0.5, 0.9), 0.0)}


def test_a_share_for_a_part_that_a_player_does_not_have_is_refused():
    own = AdamConfig(factors={"encoder": 0.1})
    with pytest.raises(UsageError, match=r"factors\.encoder: player phi has no such part"):
        build_optimisers(players(), OptimisersConfig(players={"phi": own}))


def test_a_player_that_does_not_exist_cannot_have_settings():
    config = OptimisersConfig(players={"chi": AdamConfig()})
    with pytest.raises(UsageError, match=r"optim\.players\.chi: no such player; there are phi, ps"):
        build_optimisers(players(), config)


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 0}, {"betas": [0.9, 1.0]}, {"average": 1.0}, {"momentum": 0.9}]
)
def test_settings_that_cannot_be_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"optim: {next(iter(wrong))}"):
        OptimisersConfig.parse(wrong, origin="optim")


def test_settings_survive_the_way_through_json():
    config = OptimisersConfig(players={"psi": AdamConfig(clip_value=0.2)}, clip_norm=1.0)
    assert isinstance(config, Config)
    assert OptimisersConfig.model_validate_json(config.model_dump_json()) == config


def test_without_decay_it_is_adam():
    torch.manual_seed(0)
    one, other = nn.Linear(3, 1), nn.Linear(3, 1)
    other.load_state_dict(one.state_dict())
    config = OptimisersConfig(learning_rate=0.1)
    ours = build_optimisers(nn.ModuleDict({"phi": one}), config)["phi"]
    adam = torch.optim.Adam(other.parameters(), lr=0.1)
    for _ in range(3):
        for model, optimiser in ((one, ours), (other, adam)):
            optimiser.zero_grad()
            model(torch.tensor([1.0, -2.0, 0.5])).square().sum().backward()
            optimiser.step()
    torch.testing.assert_close(one.state_dict(), other.state_dict())
