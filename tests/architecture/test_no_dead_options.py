"""Every declared setting is read somewhere: an option nobody reads is a promise nobody keeps."""

import ast
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import selfseg
from selfseg.data.format.settings import IngestSettings
from selfseg.experiment import ExperimentConfig

PACKAGE = Path(selfseg.__file__).parent
DISCRIMINATORS = {"name"}


def models_within(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return set().union(*(models_within(part) for part in get_args(annotation)))


def declared(model: type[BaseModel]) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        nested = models_within(field.annotation)
        names |= set().union(*map(declared, nested)) if nested else {name}
    return names - DISCRIMINATORS


def read() -> set[str]:
    trees = (ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py"))
    return {
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("option", sorted(declared(ExperimentConfig) | declared(IngestSettings)))
def test_option_is_read(option):
    assert option in read()
