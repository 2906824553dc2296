from copy import deepcopy

import pytest

from selfseg.config import Config, laid_over, parse_change, parse_workers
from selfseg.errors import UsageError


class Engine(Config):
    power: float = 1.0


class Car(Config):
    engine: Engine = Engine()
    doors: int = 4


def test_a_dotted_change_reaches_the_nested_setting_and_leaves_the_original():
    car = Car()
    assert car.override({"engine.power": 2.5, "doors": 2}) == Car(engine=Engine(power=2.5), doors=2)
    assert car == Car()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engine.pwer": 1}, r"setting: engine\.pwer: no such setting"),
        ({"motor.power": 1}, r"setting motor\.power: motor holds no settings"),
        ({"doors.left": 1}, r"setting doors\.left: doors holds no settings"),
        ({"doors": "many"}, r"setting: doors: .*integer.*'many'"),
    ],
)
def test_a_wrong_change_names_the_path_and_what_is_wrong(change, message):
    with pytest.raises(UsageError, match=message):
        Car().override(change)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=3", 3),
        ("a.b=[1, 2]", [1, 2]),
        ("a.b=true", True),
        ("a.b=null", None),
        ("a.b=cosine", "cosine"),
    ],
)
def test_the_value_of_a_change_is_toml_or_null_or_else_text(text, value):
    assert parse_change(text) == ("a.b", value)


def test_tables_are_laid_over_key_by_key_and_neither_is_changed():
    below = {"engine": {"power": 1.0, "valves": {"inlet": 2, "outlet": 2}}, "doors": [1, 2]}
    above = {"engine": {"valves": {"outlet": 3}, "gears": 5}, "doors": [4]}
    kept = deepcopy((below, above))
    assert laid_over(below, above) == {
        "engine": {"power": 1.0, "valves": {"inlet": 2, "outlet": 3}, "gears": 5},
        "doors": [4],
    }
    assert (below, above) == kept


def test_a_change_without_a_value_is_refused():
    with pytest.raises(UsageError, match=r"--set steps: expected a\.b=value"):
        parse_change("steps")


def test_a_file_that_is_not_toml_is_named(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("doors = ")
    with pytest.raises(UsageError, match=r"recipe\.toml: not TOML"):
        Car.read(path)


@pytest.mark.parametrize(("text", "counts"), [("4", (4, 4)), ("1:4", (1, 4)), ("2:2", (2, 2))])
def test_workers_are_a_number_or_a_range(text, counts):
    assert parse_workers(text) == counts


@pytest.mark.parametrize("text", ["0", "-1", "4:1", "0:4", "two", "1:", ":4", "1:2:3"])
def test_workers_that_are_neither_are_refused(text):
    with pytest.raises(UsageError, match=rf"^--workers {text}: "):
        parse_workers(text)
