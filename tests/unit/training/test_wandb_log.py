"""Curves in Weights & Biases: what it is asked for, and what is refused before the work begins."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from selfseg.errors import UsageError
from selfseg.training.wandb_log import WandbLog, check


@pytest.fixture
def begun(monkeypatch) -> list[dict[str, Any]]:
    """Stand in for wandb, and note what each run there is begun with."""
    asked: list[dict[str, Any]] = []
    fake = SimpleNamespace(init=lambda **options: asked.append(options), Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return asked


def test_a_run_belongs_to_the_group_it_is_given_and_otherwise_to_none(begun):
    WandbLog("runs/box=0.2-0.8,seed=0", "offline", {"seed": 0}, group="proposal 4, out")
    WandbLog("runs/alone", "offline", {"seed": 0})
    assert [options["group"] for options in begun] == ["proposal 4, out", None]
    assert [options["name"] for options in begun] == ["box=0.2-0.8,seed=0", "alone"]


def test_a_run_that_goes_on_does_so_under_the_same_id(begun):
    for url in ("runs/a", "runs/b", "runs/a"):
        WandbLog(url, "offline", {})
    first, other, again = (options["id"] for options in begun)
    assert first == again != other
    assert {options["resume"] for options in begun} == {"allow"}


def test_files_in_a_bucket_are_refused_by_the_option_that_says_the_place():
    with pytest.raises(UsageError, match=r"s3://b/run is in a bucket.* or a folder for --run$"):
        check("s3://b/run", "offline")
    with pytest.raises(UsageError, match=r"or a folder for --output$"):
        check("s3://b/sweep", "offline", option="--output")
