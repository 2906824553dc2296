"""What was copied from the papers: every table is there, and has the shape it was printed in."""

import shlex
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from selfseg.config import dotted, parse_change
from selfseg.errors import UsageError
from selfseg.experiment import read_recipe
from selfseg.prediction.benchmarks import SPLITS
from selfseg.reporting.papers import Conditions, Paper, Row, find_table, holds
from selfseg.reporting.tables import compare

CHI_OF_F_ALPHA = "χ(Fα)"  # noqa: RUF001 - the Greek letter is meant

VIDEO_SETS = ("DAVIS", "FBMS", "SegTV2")
PEOPLE = tuple(
    f"{name} {score}" for name in ("Ski-PTZ", "Handheld190k", "FS-Singles") for score in "JF"
)
SKIERS = ("Ski-PTZ val J", "Ski-PTZ val F")

SHAPES = {
    "dystab/1": (2, VIDEO_SETS),
    "dystab/2": (2, VIDEO_SETS),
    "dystab/3": (8 + 8, ("# Annot.", *VIDEO_SETS)),
    "dystab/4": (3 + 8, ("ECCSD", "MSRA-B", "DUT")),
    "dystab/5": (3, VIDEO_SETS),
    "dystab/6": (5 + 1, ("mIoU ± Std. Dev.",)),  # and a row for other numbers of videos
    "dystab/7": (5, ("DAVIS17", "YTVOS")),
    "proposal/1": (6 + 3, PEOPLE),
    "proposal/2": (3 + 1, PEOPLE),
    "proposal/3": (4 + 2, SKIERS),
    "proposal/4": (6 * 3, SKIERS),
    "proposal/figure10": (6 + 1, ("H36M mAP0.5",)),  # and the sum that draws stand for
}

PAPERS = Path(__file__).resolve().parents[4] / "shared" / "papers"


def find_row(name: str, label: str, section: str = "") -> Row:
    table, _ = find_table(name)
    (row,) = [row for row in table.rows if (row.label, row.section) == (label, section)]
    return row


@pytest.mark.parametrize("name", SHAPES)
def test_a_table_has_the_rows_and_columns_it_was_printed_with(name):
    table, _ = find_table(name)
    assert (len(table.rows), table.columns) == SHAPES[name]
    assert all(len(row.paper) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(
    ("name", "label", "section", "cells"),
    [
        ("dystab/1", "CIS [77]", "", ("59.2", "36.8", "45.6")),
        ("dystab/1", "Ours", "", ("62.4", "40.0", "49.1")),
        ("dystab/2", CHI_OF_F_ALPHA, "", ("73.8", "65.5", "65.7")),
        ("dystab/2", "χ(Lχ)", "", ("78.2", "68.7", "69.3")),
        ("dystab/3", "Ours", "Supervised Methods", ("2,000", "82.8", "75.8 / 82.0", "74.2")),
        ("dystab/3", "Ours", "Unsupervised Methods", ("", "80.0", "73.2", "74.2")),
        ("dystab/4", "Ours", "Unsupervised Methods", ("88.1", "89.7", "73.9")),
        ("dystab/5", "3", "", ("80.0", "73.2", "74.2")),
        ("dystab/6", "108", "", ("61.4 ± 1.56",)),
        ("dystab/7", "Ours", "", ("58.9", "47.2")),
        (
            "proposal/1",
            "Ours w/ optical flow + CRF",
            "",
            ("0.73", "0.83", "0.76", "0.85", "0.71", "0.86"),
        ),
        ("proposal/3", "Ours w/o optical flow w/ Lv prior", "", ("0.67", "0.73")),
        ("proposal/4", "b[0.20,0.80], Lv,λ=0.001", "", ("0.67", "0.73")),
        ("proposal/figure10", "(e) Gumbel-Softmax", "", ("0.30",)),
    ],
)
def test_the_papers_own_rows_are_there_and_have_a_counterpart_here(name, label, section, cells):
    row = find_row(name, label, section)
    assert row.paper == cells
    assert row.ours


def test_the_last_round_is_what_the_paper_reports_in_all():
    unsupervised = find_row("dystab/3", "Ours", "Unsupervised Methods")
    assert unsupervised.paper == ("", *find_row("dystab/5", "3").paper)
    # And the first is chi of Eq. 6.
    assert find_row("dystab/5", "1").paper == find_row("dystab/2", CHI_OF_F_ALPHA).paper


@pytest.mark.parametrize("name", SHAPES)
def test_every_table_prints_without_a_run(name):
    console = Console(width=150, file=StringIO())
    with console.capture() as capture:
        console.print(compare(name, []).table())
    printed = capture.get()
    table, _ = find_table(name)
    for row in table.rows:
        assert row.label in printed
        assert all(cell in printed for cell in row.paper)


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not here")
@pytest.mark.parametrize(
    ("name", "blocks"),
    [("1", [9]), ("2", [4]), ("3", [4, 2]), ("4", [3] * 6)],
)
def test_the_numbers_are_those_of_the_papers_text(name, blocks):
    """In the text a table lies column by column, interrupted where it is ruled."""
    text = "".join((PAPERS / "proposal_paper.txt").read_text().split())
    table, _ = find_table(f"proposal/{name}")
    assert "".join(table.caption.split()) in text
    rows = iter(table.rows)
    for size in blocks:
        block = [next(rows) for _ in range(size)]
        assert "".join("".join(row.label for row in block).split()) in text
        assert "".join(cell for column in _columns(block) for cell in column) in text
    assert next(rows, None) is None


def _columns(rows: list[Row]) -> list[tuple[str, ...]]:
    return list(zip(*(row.paper for row in rows), strict=True))


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not here")
def test_the_numbers_of_figure_10_are_those_of_the_papers_text():
    text = " ".join((PAPERS / "proposal_paper.txt").read_text().split())
    (ours,) = find_row("proposal/figure10", "(f) Ours").paper
    (gumbel,) = find_row("proposal/figure10", "(e) Gumbel-Softmax").paper
    assert f"Our method delivers a mAP0.5 score of {ours}" in text
    assert f"the mAP0.5 score of {gumbel} obtained by using GumbelSoftmax" in text


@pytest.mark.parametrize("paper", ["dystab/1", "proposal/1"])
def test_columns_name_benchmarks_that_can_be_scored(paper):
    _, columns = find_table(paper)
    # Human3.6M has no reader: who has it ingests it, and scores the collection.
    for column in columns.values():
        for benchmark in set(column.benchmarks) - {"human3.6m"}:
            name, _, split = benchmark.partition(" ")
            assert (split or "all") in SPLITS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_our_lines_come_from_recipes_that_meet_their_conditions(name):
    table, _ = find_table(name)
    counterparts = [counterpart for row in table.rows for counterpart in row.ours]
    assert counterparts
    for counterpart in counterparts:
        words = shlex.split(counterpart.options)
        changes = dict(parse_change(word) for word in words if word.startswith("method."))
        recipe = read_recipe(counterpart.recipe or table.recipe).override(changes)
        facts = dict(dotted(recipe.model_dump(mode="json")))
        wanted = counterpart.where[0]
        about_run = {fact: wanted[fact] for fact in wanted if fact in facts}
        assert set(wanted) - set(about_run) <= {"view", "round", "crf", "collection.videos"}
        assert holds(about_run, facts)


def test_a_list_of_settings_is_a_condition_too():
    conditions: Conditions = {"method.detector.box": (0.2, 0.8)}
    assert holds(conditions, {"method.detector.box": [0.2, 0.8]})
    assert not holds(conditions, {"method.detector.box": [0.2, 0.7]})
    assert not holds(conditions, {"method.detector.box": 0.2})


def test_an_unknown_table_lists_those_there_are():
    with pytest.raises(UsageError, match=r"no table dystab/9: .* dystab/1, .* dystab/7"):
        find_table("dystab/9")
    with pytest.raises(UsageError, match="no table 5: choose from"):
        find_table("5")


@pytest.mark.parametrize(
    ("cells", "columns", "message"),
    [(["1", "2"], ["A"], "row x has 2 cells"), (["1"], ["B"], "no column B")],
)
def test_a_table_that_was_copied_crooked_is_refused(cells, columns, message):
    table = {
        "caption": "",
        "measure": "",
        "scores": {"": ""},
        "recipe": "",
        "columns": columns,
        "rows": [{"label": "x", "paper": cells}],
    }
    tree = {"columns": {"A": {"benchmarks": []}}, "tables": {"1": table}}
    with pytest.raises(UsageError, match=message):
        Paper.parse(tree, origin="crooked.toml")
