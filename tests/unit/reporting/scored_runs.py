"""Runs' folders as training and scoring leave them, and where their scores end up in a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selfseg.reporting.lines import Line
from selfseg.reporting.tables import Comparison

WriteRun = Callable[..., str]

BOOTSTRAP = {
    "name": "dystab_bootstrap",
    "rounds": 3,
    "dynamic": {"lambda_tc": -0.1},
    "static": {"confidence": "separation"},
}


def changed(method: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**method, **changes}


def write_run_in(parent: Path) -> WriteRun:
    """Return what writes a run's folder there, with records of scores; it returns its URL."""

    def write(
        name: str, *records: dict[str, Any], method: Any = BOOTSTRAP, seed: int = 0, **told: Any
    ) -> str:
        folder = parent / name
        (folder / "evaluations").mkdir(parents=True)
        facts = {
            "settings": {"seed": seed, "method": method},
            "ingest": {},
            "collection": "collections/ours",
            "manifest": "0",
            "versions": {},
            "command": "",
            **told,
        }
        (folder / "run.json").write_text(json.dumps(facts))
        for number, record in enumerate(records):
            full = {
                "title": name,
                "checkpoint": f"{folder}/checkpoints/step_00000100",
                "baseline": None,
                "view": "fused",
                "round": None,
                "seed": seed,
                "augment": False,
                "crf": False,
                "frames": 10,
                **record,
            }
            (folder / "evaluations" / f"{number}.json").write_text(json.dumps(full))
        return str(folder)

    return write


def lines(comparison: Comparison, label: str, section: str = "") -> list[Line]:
    """Return our lines below a row of the paper."""
    (found,) = [
        lines
        for row, lines in zip(comparison.published.rows, comparison.lines, strict=True)
        if row.label == label and row.section in {section, ""}
    ]
    return list(found)
