"""What the sweeps' options come to."""

from typing import Any

import command
import pytest

from selfseg.runtime import ray_train
from selfseg.sweep.plan import Size, Sweep
from selfseg.sweep.scoring import Ground
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, trials_of


class Videos:
    """What the work needs to know of a collection."""

    url = "videos"
    manifest_id = "0" * 64


def toy(size: Size) -> Sweep:
    del size
    return SWEEP


@pytest.mark.parametrize(("options", "mode"), [([], None), (["--wandb", "offline"], "offline")])
def test_all_trials_go_to_weights_and_biases_as_one_group_where_that_is_asked_for(
    options, mode, tmp_path, monkeypatch
):
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_train, "train", lambda config, **how: asked.append(how))
    monkeypatch.setattr(command, "slots", lambda workers: 1)
    told = ["--collection", "videos", "--output", f"{tmp_path}/", *options]
    args = command.build_parser(toy).parse_args(told)
    videos: Any = Videos()
    work = command.work_of(SWEEP, args, videos, Ground())
    for trial in trials_of(tmp_path):
        work.train(trial, STEPS)
    assert len({how["run_url"] for how in asked}) == 6
    assert {(how["wandb"], how["group"]) for how in asked} == {
        (mode, f"proposal 4, {tmp_path.name}")
    }
