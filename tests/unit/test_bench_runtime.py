"""The benchmark of the runtime trains what the recipes of today say."""

import pytest

from selfseg.methods.proposal.config import ProposalConfig
from tools.runtime_bench.steps import BATCH, RECIPES, config_of


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_runs_from_its_last_stage_on_with_the_batch_of_one_process(recipe):
    config = config_of(recipe)
    assert config.data.batch_size == BATCH
    if isinstance(config.method, ProposalConfig):
        assert config.method.inpainter_steps == 0
        assert config.loop.steps == config.method.proposal_steps
