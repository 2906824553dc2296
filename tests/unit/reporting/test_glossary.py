from dataclasses import replace
from typing import get_args

import torch
from torch import Generator

from selfseg.contracts import Method, View
from selfseg.experiment import read_recipe
from selfseg.methods.dystab.bootstrap import Bootstrap
from selfseg.methods.dystab.config import SelfTrainingConfig, SupervisedConfig
from selfseg.methods.dystab.self_training import SelfTraining
from selfseg.methods.dystab.supervised import Supervised
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.proposal import Proposal
from selfseg.reporting.glossary import HUES, PLAYERS, TERMS, VIEWS
from tests.unit.methods.test_dystab_bootstrap import SMALL
from tests.unit.methods.test_dystab_dynamic import discs

EVERY_TERM = {"dynamic.imitation_weight": 1.0, "dynamic.imitation_steps": 1}


def test_every_term_of_every_player_is_explained():
    batch = discs(2)
    batch = replace(batch, truth=torch.zeros(2, 1, 48, 64))
    boot = Bootstrap(SMALL.override(EVERY_TERM))
    tuned = Supervised(SupervisedConfig(dynamic=SMALL.dynamic, static=SMALL.static))
    alone = SelfTraining(SelfTrainingConfig(static=SMALL.static, static_steps=1))
    proposer = read_recipe("proposal_cpu").method
    assert isinstance(proposer, ProposalConfig)
    proposal, first = Proposal(proposer), proposer.inpainter_steps
    games: list[tuple[Method, int]] = [
        *((boot, step) for step in range(20)),
        (tuned, 0),
        (tuned, 1),
        (alone, 0),
        # Both inpainters, then D and S: in their warm-up they have one term more than later.
        *((proposal, step) for step in (0, proposer.inpainters.flow_turns, first)),
    ]
    moved = set()
    for method, step in games:
        player = method.player_at(step)
        terms = method.objective(player, batch, step, Generator()).terms
        assert player in PLAYERS
        assert set(terms) <= set(TERMS)
        moved.add(player)
    assert moved == set(PLAYERS)


def test_every_view_has_words_and_every_player_a_colour():
    assert set(VIEWS) == set(get_args(View))
    assert set(HUES) == set(PLAYERS)
