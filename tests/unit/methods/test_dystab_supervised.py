from dataclasses import replace

import pytest
import torch
from torch import Generator

from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.config import SupervisedConfig
from selfseg.methods.dystab.supervised import Supervised
from tests.unit.methods.test_dystab_bootstrap import SMALL
from tests.unit.methods.test_dystab_dynamic import discs

CONFIG = SupervisedConfig(dynamic=SMALL.dynamic, static=SMALL.static)


@pytest.fixture(scope="module")
def annotated():
    batch = discs(4)
    moving = (batch.flow - batch.camera).norm(dim=1, keepdim=True) > 0.5
    return replace(batch, truth=moving.float())


@pytest.mark.parametrize("player", ["static", "segmenter"])
def test_each_player_learns_the_annotated_masks(annotated, player):
    torch.manual_seed(0)
    model = Supervised(CONFIG)
    optimiser = torch.optim.Adam(model.players[player].parameters(), lr=3e-3)
    errors = []
    for step in range(25):
        optimiser.zero_grad()
        loss = model.objective(player, annotated, step, Generator()).loss
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert errors[-1] < 0.6 * errors[0]


def test_phi_and_chi_take_turns_and_nobody_else_plays():
    model = Supervised(CONFIG)
    assert [model.player_at(step) for step in range(4)] == ["static", "segmenter"] * 2
    assert set(model.players) == {"static", "segmenter"}


def test_a_bootstrapped_model_is_where_it_starts(annotated):
    taught, tuned = Bootstrap(SMALL), Supervised(CONFIG)
    for player in tuned.players:
        tuned.players[player].load_state_dict(taught.players[player].state_dict())
    for view in tuned.views:
        torch.testing.assert_close(tuned.segment(annotated, view), taught.segment(annotated, view))
