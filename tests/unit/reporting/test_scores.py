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
