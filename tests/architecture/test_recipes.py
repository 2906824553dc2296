"""Every recipe parses, is complete, says what it costs, builds its method, and fits its family."""

import pytest

from selfseg.config import dotted
from selfseg.experiment import build_method, read_recipe, recipe_names, recipe_path
from selfseg.methods.proposal.config import ProposalConfig


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


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_header_trains_this_recipe(name):
    (command,) = [
        line for line in recipe_path(name).read_text().splitlines() if "# Command:" in line
    ]
    assert f" train {name} " in command


def differences(one: str, other: str) -> dict[str, tuple[object, object]]:
    """Return the settings in which two recipes differ, by dotted path."""
    first, second = (
        dict(dotted(read_recipe(name).model_dump(mode="json"))) for name in (one, other)
    )
    return {
        path: (first.get(path), second.get(path))
        for path in first | second
        if first.get(path) != second.get(path)
    }


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("dystab_dynamic", "dystab_cis", {"method.lambda_tc": (-0.1, 0)}),
        ("dystab_cis_cpu", "dystab_consistent_cpu", {"method.lambda_tc": (0, -1)}),
        (
            "dystab_static",
            "dystab_static_plain",
            {"method.static.confidence": ("separation", "none")},
        ),
        ("proposal", "proposal_uniform", {"method.sampling": ("importance", "uniform")}),
        ("proposal_cpu", "proposal_gumbel_cpu", {"method.sampling": ("importance", "gumbel")}),
        (
            "proposal_without_flow_cpu",
            "proposal_prior_l1_cpu",
            {"method.mask_prior": ("v", "l1")},
        ),
        (
            "proposal",
            "proposal_without_flow",
            {
                "method.flow_weight": (1, 0),
                "method.inpainters.flow_widths": ([16, 32, 64, 128, 256, 512], None),
            },
        ),
    ],
)
def test_two_rows_of_a_table_differ_in_what_the_table_is_about(one, other, expected):
    assert differences(one, other) == expected


@pytest.mark.parametrize("size", ["", "_cpu"])
def test_inpainters_trained_alone_are_those_of_the_whole(size):
    alone, whole = read_recipe(f"proposal_inpainters{size}"), read_recipe(f"proposal{size}")
    assert isinstance(whole.method, ProposalConfig)
    assert alone.method == whole.method.inpainters
    assert alone.data == whole.data
    assert alone.loop.steps == whole.method.inpainter_steps


def test_the_proposal_recipe_has_the_numbers_that_the_paper_states():
    config = read_recipe("proposal")
    method = config.method
    assert isinstance(method, ProposalConfig)
    # Sections 3.3 and 3.4: N = 16, one draw, pixel : perceptual = 1 : 2, priors 0.1 and 0.25,
    # the erased region 1.1 times the box; Table 4's best row: [0.20, 0.80] and lambda = 0.001.
    assert (config.data.batch_size, method.sampling) == (16, "importance")
    assert (method.foreground_weight, method.perceptual.weight) == (1, 2)
    assert (method.probability_prior, method.mask_weight, method.erased) == (0.1, 0.25, 1.1)
    assert (method.detector.box, method.mask_prior, method.mask_lambda) == ((0.2, 0.8), "v", 0.001)
    # S sees 128 x 128; C = 64.
    assert (method.autoencoder.side, method.detector.cells**2) == (128, 64)
    # What the paper does not have is off.
    assert (method.reward_baseline, method.reward_hole) == ("none", None)
    assert (method.size_weight, method.crop_weight, method.warmup_steps) == (0, 0, 0)
