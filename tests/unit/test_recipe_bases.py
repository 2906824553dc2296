"""A recipe that builds on another says only what differs, and says who is wrong where it is not."""

from pathlib import Path

import pytest

from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, read_recipe, recipe_path

GROUND = """
[method]
name = "dystab_dynamic"
psi = "affine"
[data]
height = 64
width = 128
[optim]
clip_norm = 1.0
[optim.players.segmenter]
learning_rate = 1e-3
[loop]
steps = 100
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, text: str) -> str:
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        return str(path)

    write("ground", GROUND)
    return write


def test_only_what_a_recipe_states_differs_from_its_base(write):
    ground = read_recipe(write("ground", GROUND))
    other = read_recipe(
        write(
            "other", 'base = "ground.toml"\nseed = 3\n[method]\nlambda_tc = 0\n[data]\nwidth = 96'
        )
    )
    assert other == ground.override({"seed": 3, "method.lambda_tc": 0, "data.width": 96})


def test_a_base_may_have_a_base_in_another_folder(write, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "middle.toml").write_text('base = "../ground.toml"\n[loop]\nsteps = 7')
    top = read_recipe(write("top", 'base = "far/middle.toml"\n[data]\nwidth = 96'))
    ground = read_recipe(str(tmp_path / "ground.toml"))
    assert top == ground.override({"loop.steps": 7, "data.width": 96})


def test_a_name_without_an_ending_is_a_recipe_of_the_package(write):
    mine = read_recipe(write("mine", 'base = "dystab_cis_cpu"\nseed = 5'))
    assert mine == ExperimentConfig.read(recipe_path("dystab_cis_cpu")).override({"seed": 5})


def test_a_setting_can_be_null_though_toml_has_no_word_for_it(write):
    text = 'base = "ground.toml"\nnull = ["optim.clip_norm"]'
    assert read_recipe(write("free", text)).optim.clip_norm is None
    alone = read_recipe(write("alone", 'null = ["optim.clip_norm"]\n' + GROUND))
    assert alone.optim.clip_norm is None


def test_a_players_settings_are_laid_over_too(write):
    text = 'base = "ground.toml"\n[optim.players.segmenter]\nschedule = "cosine"'
    segmenter = read_recipe(write("top", text)).optim.players["segmenter"]
    assert (segmenter.learning_rate, segmenter.schedule) == (1e-3, "cosine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base = "ground.toml"\n[data]\nwidht = 1', r"top\.toml: data\.widht: no such setting"),
        ('base = "ground.toml"\n[loop]\nsteps = -1', r"top\.toml: loop\.steps: .*, not -1"),
        ('base = "ground.toml"\nnull = ["data.width"]', r"top\.toml: data\.width: .*, not None"),
        ('base = "ground.toml"\nnull = ["seed.x"]', r"top\.toml: null seed\.x: seed holds no"),
        ('base = "no_such"', r"top\.toml: base: no recipe no_such"),
        ('base = "no_such.toml"', r"top\.toml: base: no recipe .*no_such\.toml"),
        ("base = 3", r"top\.toml: base: .*string, not 3"),
        ('base = "top.toml"', r"top\.toml: base: top\.toml builds on this file itself"),
    ],
)
def test_a_mistake_names_the_file_that_makes_it_and_the_key(write, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_recipe(write("top", text))
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_base_names_the_base(write):
    write("ground", GROUND + "stpes = 3")
    with pytest.raises(UsageError, match=r"ground\.toml: loop\.stpes: no such setting"):
        read_recipe(write("top", 'base = "ground.toml"\nseed = 1'))


def test_recipes_that_build_on_each_other_are_refused(write):
    write("left", 'base = "right.toml"')
    with pytest.raises(UsageError, match=r"left\.toml: base: right\.toml builds on this file"):
        read_recipe(write("right", 'base = "left.toml"'))
