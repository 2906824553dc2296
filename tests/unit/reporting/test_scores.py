from selfseg.reporting.scores import lacking, tables


def evaluation(name: str, j: dict[str, float], *, baseline: str | None = None) -> dict[str, object]:
    mean = sum(j.values()) / len(j)
    return {
        "title": name,
        "benchmark": "davis",
        "baseline": baseline,
        "j_mean": mean,
        "j_frame_mean": mean,
        "f_mean": mean,
        "sequences": {
            sequence: {"j": value, "f": value, "frames": 3} for sequence, value in j.items()
        },
    }


def test_what_was_scored_on_the_same_sequences_stands_in_one_table_best_first():
    table, other = tables(
        {
            "a": evaluation("otsu", {"bear": 0.4, "bus": 0.2}, baseline="otsu"),
            "b": evaluation("run", {"bear": 0.3, "bus": 0.9}),
            "c": evaluation("run", {"bear": 0.3}),
        }
    )
    assert [entry.name for entry in table.entries] == ["run", "otsu"]
    assert table.sequences == ["bear", "bus"]
    assert [entry.name for entry in other.entries] == ["run"]


def test_the_run_and_the_best_baseline_are_told_apart():
    (table,) = tables(
        {
            "a": evaluation("centre", {"bear": 0.1}, baseline="centre"),
            "b": evaluation("otsu", {"bear": 0.8}, baseline="otsu"),
            "c": evaluation("run", {"bear": 0.5}),
        }
    )
    assert table.own is not None
    assert table.rival is not None
    assert (table.own.name, table.rival.name) == ("run", "otsu")
    assert table.best("bear") == ["otsu"]


def test_boxes_have_columns_of_their_own_where_something_finds_them():
    own = evaluation("run", {"bear": 0.5}) | {"box_hit": 0.9, "map50": 0.4, "j_bump": 0.3}
    (table,) = tables({"a": own, "b": evaluation("otsu", {"bear": 0.4}, baseline="otsu")})
    assert list(table.measures) == [
        "j_mean",
        "j_frame_mean",
        "f_mean",
        "j_bump",
        "box_hit",
        "map50",
    ]
    first, second = table.entries
    assert (first.means["box_hit"], first.means["j_bump"]) == (0.9, 0.3)
    assert "box_hit" not in second.means
    (plain,) = tables({"b": evaluation("otsu", {"bear": 0.4}, baseline="otsu")})
    assert list(plain.measures) == ["j_mean", "j_frame_mean", "f_mean"]


def test_without_a_baseline_there_is_no_rival():
    (table,) = tables({"a": evaluation("run", {"bear": 0.5})})
    assert table.rival is None


def stills(name: str, iou: float, *, baseline: str | None = None) -> dict[str, object]:
    return {
        "title": name,
        "benchmark": "ecssd",
        "baseline": baseline,
        "iou_mean": iou,
        "f_beta_mean": iou,
        "f_beta_adaptive_mean": iou,
        "mae_mean": 1 - iou,
        "protocol": "every image",
        "images": {"a": {"iou": iou}, "b": {"iou": iou}},
    }


def test_stills_stand_in_a_table_of_their_own_with_their_own_measures():
    videos, images = tables(
        {
            "a": evaluation("run", {"bear": 0.3}),
            "b": stills("grabcut", 0.4, baseline="grabcut"),
            "c": stills("run", 0.7),
        }
    )
    assert (videos.still, images.still) == (False, True)
    assert [entry.name for entry in images.entries] == ["run", "grabcut"]
    assert images.title == "ecssd: 2 images"
    assert images.entries[0].means["mae_mean"] == 1 - 0.7
    assert images.sequences == []


def test_what_an_evaluation_lacks_is_named():
    assert lacking(stills("run", 0.5)) is None
    assert lacking(evaluation("run", {"bear": 0.5})) is None
    broken = stills("run", 0.5)
    del broken["mae_mean"]
    assert lacking(broken) == "mae_mean"
    assert lacking({"title": "run", "baseline": None, "benchmark": "x"}) == "f_mean"


def view_scored(number: int, view: str, j: float, **changes: object) -> dict[str, object]:
    """The run's score by a view after a round, which each takes ten steps."""
    about = {
        "view": view,
        "round": number,
        "checkpoint": f"run/checkpoints/step_{10 * number:08d}",
        "crf": False,
    }
    return evaluation(f"run round {number} {view}", {"bear": j}) | about | changes


def test_earlier_rounds_stand_in_a_course_and_not_in_the_summary():
    scored = [view_scored(k, view, 0.1 * k) for k in (1, 2) for view in ("static", "fused")]
    baseline = evaluation("otsu", {"bear": 0.15}, baseline="otsu")
    (table,) = tables({str(k): each for k, each in enumerate([*scored, baseline])})
    assert {entry.name for entry in table.shown} == {
        "run round 2 static",
        "run round 2 fused",
        "otsu",
    }
    (course,) = table.courses
    assert course.rounds == [1, 2]
    assert [line.view for line in course.lines] == ["static", "fused"]


def test_a_round_that_no_course_tells_of_stands_in_the_summary():
    (table,) = tables(
        {"a": view_scored(1, "fused", 0.3), "b": view_scored(2, "fused", 0.2, crf=True)}
    )
    assert table.courses == []
    assert len(table.shown) == 2


def test_a_course_leaves_out_what_had_learned_nothing_yet():
    scored = [view_scored(k, view, 0.5) for k in (0, 1) for view in ("dynamic", "fused")]
    (table,) = tables({str(k): each for k, each in enumerate(scored)})
    lines = {line.view: line.scores for line in table.courses[0].lines}
    assert lines == {"dynamic": [0.5, 0.5], "fused": [None, 0.5]}


def test_the_score_of_a_run_is_not_chosen_by_the_truth():
    (table,) = tables(
        {
            "a": view_scored(1, "fused", 0.9, crf=True),
            "b": view_scored(2, "static", 0.8, crf=True),
            "c": view_scored(2, "fused", 0.7),
            "d": view_scored(2, "fused", 0.6, crf=True),
        }
    )
    assert table.own is not None
    assert table.own.means["j_mean"] == 0.6


def test_one_checkpoint_scored_under_two_names_counts_once():
    newest = view_scored(2, "fused", 0.7)
    (table,) = tables({"a": newest, "b": newest | {"title": "run fused", "round": 2}})
    assert [entry.name for entry in table.entries] == ["run fused"]
