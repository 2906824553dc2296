"""What was copied from the papers: every table is there, and has the shape it was printed in."""

from io import StringIO

import pytest
from rich.console import Console

from selfseg.errors import UsageError
from selfseg.experiment import read_recipe
from selfseg.prediction.benchmarks import SPLITS
from selfseg.reporting.collect import dotted
from selfseg.reporting.papers import Paper, Row, find_table, holds
from selfseg.reporting.tables import compare

CHI_OF_F_ALPHA = "χ(Fα)"  # noqa: RUF001 - the Greek letter is meant

VIDEO_SETS = ("DAVIS", "FBMS", "SegTV2")

SHAPES = {
    "dystab/1": (2, VIDEO_SETS),
    "dystab/2": (2, VIDEO_SETS),
    "dystab/3": (8 + 8, ("# Annot.", *VIDEO_SETS)),
    "dystab/4": (3 + 8, ("ECCSD", "MSRA-B", "DUT")),
    "dystab/5": (3, VIDEO_SETS),
    "dystab/6": (5 + 1, ("mIoU ± Std. Dev.",)),  # and a row for other numbers of videos
    "dystab/7": (5, ("DAVIS17", "YTVOS")),
}


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


def test_columns_name_benchmarks_that_can_be_scored():
    _, columns = find_table("dystab/1")
    for column in columns.values():
        for benchmark in column.benchmarks:
            name, _, split = benchmark.partition(" ")
            assert (split or "all") in SPLITS[name]


@pytest.mark.parametrize("name", SHAPES)
def test_our_lines_come_from_recipes_that_meet_their_conditions(name):
    table, _ = find_table(name)
    counterparts = [counterpart for row in table.rows for counterpart in row.ours]
    assert counterparts
    for counterpart in counterparts:
        recipe = read_recipe(counterpart.recipe or table.recipe)
        facts = dict(dotted(recipe.model_dump(mode="json")))
        wanted = counterpart.where[0]
        about_run = {fact: wanted[fact] for fact in wanted if fact in facts}
        assert set(wanted) - set(about_run) <= {"view", "round", "crf", "collection.videos"}
        assert holds(about_run, facts)


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
        "score": "",
        "recipe": "",
        "columns": columns,
        "rows": [{"label": "x", "paper": cells}],
    }
    tree = {"columns": {"A": {"benchmarks": []}}, "tables": {"1": table}}
    with pytest.raises(UsageError, match=message):
        Paper.parse(tree, origin="crooked.toml")
