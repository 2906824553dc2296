"""A mistake on the command line ends in one line and the right exit status."""

from typing import get_args

import pytest

from selfseg.cli import main
from selfseg.cli.arguments import VIEWS
from selfseg.contracts import View

CENTRE = ["evaluate", "--baseline", "centre", "--root", "nowhere"]
TRAIN = ["--collection", "nowhere", "--run", "run"]


def ended(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "no_such", *TRAIN], 2, "no recipe no_such"),
        (["train", "no_such.toml", *TRAIN], 2, "no recipe no_such.toml"),
        (["train", "dystab_dynamic_cpu", *TRAIN, "--set", "loop.stepz=3"], 2, "loop.stepz"),
        (["train", "dystab_dynamic_cpu", *TRAIN, "--set", "loop.steps=many"], 2, "'many'"),
        (["train", "dystab_dynamic_cpu", *TRAIN, "--set", "loop.steps"], 2, "a.b=value"),
        (["train", "dystab_dynamic_cpu", *TRAIN, "--workers", "3"], 2, "16"),
        (["train", "dystab_dynamic_cpu", *TRAIN, "--workers", "1:4"], 2, "evenly by 3 workers"),
        (["train", "dystab_dynamic_cpu", *TRAIN], 1, "nowhere"),
        (["evaluate", "--collection", "nowhere"], 2, "--baseline NAME"),
        (["evaluate", "--baseline", "centre"], 2, "--root DIR"),
        (["evaluate", "--baseline", "centre", "--root", "nowhere"], 1, "nowhere"),
        (["evaluate", "--baseline", "centre", "--device", "abacus"], 2, "abacus"),
        ([*CENTRE, "--benchmark", "magic"], 2, "choose from davis16, davis17, fbms59"),
        ([*CENTRE, "--benchmark", "duts"], 1, "DUTS-TE/DUTS-TE-Image/NAME.jpg"),
        ([*CENTRE, "--every", "0"], 2, "--every 0"),
        (["predict", "nowhere", "video.mp4", "--output", "masks"], 1, "nowhere"),
        (["report", "nowhere"], 1, "nowhere"),
        (["table", "dystab/9"], 2, "choose from dystab/1, dystab/2"),
        (["table", "dystab/5", "nowhere"], 1, "nowhere"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    arguments, code, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, lines = ended(arguments, capsys)
    assert status == code
    assert len(lines) == 1
    assert lines[0].startswith("selfseg: ")
    assert message in lines[0]
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_every_view_can_be_asked_for():
    """The command spells them out, for what declares them takes seconds to import."""
    assert set(VIEWS) == set(get_args(View))
