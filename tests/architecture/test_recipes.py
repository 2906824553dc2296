"""Every recipe parses, is complete, says what it costs, and builds its method."""

import pytest

from selfseg.experiment import build_method, read_recipe, recipe_names, recipe_path


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_builds_its_method(name):
    config = read_recipe(name)
    method = build_method(config.method)
    assert method.player_at(0) in method.players


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("fact", ["Command:", "Hardware:", "Time:", "Score:"])
def test_recipe_header_states(name, fact):
    header = recipe_path(name).read_text().split("\n\n")[0]
    assert fact in header
