import pytest

from selfseg.experiment import read_recipe
from selfseg.reporting.plan import Plan, read_plan


def settings(recipe: str, **changes: object) -> dict[str, object]:
    config = read_recipe(recipe)
    return config.override(changes).model_dump(mode="json")


@pytest.mark.parametrize(
    ("recipe", "weights", "labels"),
    [
        ("dystab_dynamic_cpu", None, "none"),
        ("dystab_bootstrap", "none", "none"),
        ("dystab_bootstrap", "torchvision", "names"),
        ("dystab_bootstrap", "/weights/imagenet.pt", "names"),
        ("dystab_supervised", "none", "masks"),
    ],
)
def test_a_plan_says_what_people_had_to_give(recipe, weights, labels):
    changes = {"method.static.weights": weights} if weights else {}
    assert read_plan(settings(recipe, **changes)).labels == labels


def test_weights_learned_without_labels_are_none():
    changes = {"method.static.weights": "dino", "method.static.encoder": "resnet50"}
    assert read_plan(settings("dystab_bootstrap", **changes)).labels == "none"


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, "none"),
        ({"method.perceptual.network": "squeezenet1_0"}, "names"),
        (
            {"method.perceptual.network": "vgg16", "method.perceptual.weights": "none"},
            "none",
        ),
        (
            {
                "method.detector.architecture": "resnet18",
                "method.detector.weights": "torchvision",
            },
            "names",
        ),
    ],
)
def test_any_network_that_someone_named_pictures_for_counts(changes, labels):
    assert read_plan(settings("proposal_cpu", **changes)).labels == labels


def test_the_proposal_method_has_two_phases_or_one():
    names = [phase.name for phase in read_plan(settings("proposal")).phases]
    assert names == ["inpainters", "proposals"]
    (only,) = read_plan(settings("proposal_full_sum")).phases
    assert (only.name, only.start) == ("proposals", 0)


def test_a_bootstrap_has_its_phases_and_a_single_training_none():
    rounds = [phase.completes for phase in read_plan(settings("dystab_bootstrap")).phases]
    assert [number for number in rounds if number is not None] == [0, 1, 2, 3]
    assert read_plan(settings("dystab_dynamic_cpu")).phases == ()


def test_settings_of_another_version_have_no_plan():
    assert read_plan({"method": {"name": "some_method"}}) == Plan((), None)
