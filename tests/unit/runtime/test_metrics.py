"""What is published of a run: its names, its tags, and counts that only grow."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from selfseg.errors import UserError
from selfseg.runtime import metrics
from selfseg.runtime.metrics import publisher
from selfseg.training.audience import Report


class Metric:
    """Notes what it is told, by tags."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.keys, self.values = tag_keys, {}
        SHOWN[name] = self.values

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.keys)
        self.values[tuple(tags.values())] = value

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.set(self.values.get(tuple(tags.values()), 0) + value, tags)


SHOWN: dict[str, dict[tuple[str, ...], float]] = {}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Names as Prometheus shows them, less `ray_`; values by tags."""
    SHOWN.clear()
    for name in ("Gauge", "Counter"):
        monkeypatch.setattr(metrics, name, Metric)
    caches = (metrics._gauge, metrics._counter, metrics.publisher)
    for cached in caches:
        cached.cache_clear()
    yield SHOWN
    for cached in caches:
        cached.cache_clear()


def test_what_workers_report_is_shown_by_run_and_rank(shown):
    ours = publisher("s3://bucket/runs/night/")
    told = Report(40, 100, 2.5, 0.25, terms={"judge": {"loss": 0.5, "x": 1.0}}, checkpoint_s=0.125)
    ours.report(told)
    ours.report(replace(told, wait_share=0.5, rank=1))
    ours.saved()
    ours.saved()
    ours.restarted()
    ours.goodput(0.875)
    assert shown == {
        "selfseg_step": {("night", "0"): 40, ("night", "1"): 40},
        "selfseg_steps_per_second": {("night", "0"): 2.5, ("night", "1"): 2.5},
        "selfseg_wait_share": {("night", "0"): 0.25, ("night", "1"): 0.5},
        "selfseg_loss": {("night", "judge"): 0.5},
        "selfseg_checkpoint_seconds": {("night",): 0.125},
        "selfseg_checkpoints_total": {("night",): 2},
        "selfseg_restarts_total": {("night",): 1},
        "selfseg_goodput": {("night",): 0.875},
    }


def test_steps_skipped_before_a_restart_are_not_counted_again(shown):
    ours = publisher("run")
    for skipped in (3, 3, 5, 6):
        ours.report(Report(10, 100, skipped=skipped))
    ours.report(Report(0, 0, notes=("a note alone says nothing of steps",)))
    ours.report(Report(10, 100, skipped=6, rank=1))
    assert shown["selfseg_skipped_steps_total"] == {("run",): 6 - 3}


def test_a_journal_that_is_damaged_for_a_while_does_not_end_the_watch(shown, monkeypatch):
    looks = iter([UserError("attempts/0001.json: damaged"), SimpleNamespace(share=0.5)])

    class TwoLooks:
        """Never done before both were taken."""

        left = 2

        def wait(self, pause_s: float) -> bool:
            self.left -= 1
            return self.left < 0

    def look(run_url: str) -> Any:
        found = next(looks)
        if isinstance(found, UserError):
            raise found
        return found

    monkeypatch.setattr(metrics, "read_goodput", look)
    metrics.publish_goodput("runs/night", TwoLooks())  # pyright: ignore[reportArgumentType] # no event
    assert shown["selfseg_goodput"] == {("night",): 0.5}
