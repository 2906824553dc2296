from selfseg.reporting.scores import tables


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
