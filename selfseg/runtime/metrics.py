"""What Ray's Prometheus endpoints show of a run, under these names after `ray_`.

A metric is shown by the node whose process set it, as long as that process lives. Setting one
costs microseconds and is done when a worker reports, at most once a second.
"""

import threading
import time
from contextlib import suppress
from functools import cache

from ray.util.metrics import Counter, Gauge

from selfseg import storage
from selfseg.errors import UserError
from selfseg.training.audience import Report
from selfseg.training.goodput import read_goodput

GOODPUT_S = 30.0
"""Shortest time between two looks at a run's ledger, which is read from its folder."""

GOODPUT_COST = 0.02
"""Largest share of the time that is spent reading it; the longer the run, the more there is."""

_GAUGES = {
    "selfseg_step": ("steps taken", ("run", "rank")),
    "selfseg_steps_per_second": ("steps per second since the last report", ("run", "rank")),
    "selfseg_wait_share": ("share of the time spent waiting for data", ("run", "rank")),
    "selfseg_loss": ("latest loss of each player, on worker 0", ("run", "player")),
    "selfseg_checkpoint_seconds": ("what training waited for its last checkpoint", ("run",)),
    "selfseg_goodput": ("productive share of the run's time", ("run",)),
}
_COUNTERS = {
    "selfseg_skipped_steps_total": "steps left out because a number was not finite",
    "selfseg_checkpoints_total": "committed checkpoints",
    "selfseg_restarts_total": "times that lost workers were started again",
}


class Publisher:
    """Sets one run's metrics in this process."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._skipped: int | None = None

    def report(self, report: Report) -> None:
        """Publish what a worker reports; a report of notes alone says nothing."""
        if not report.steps:
            return
        self._count_skipped(report)
        self._set("selfseg_step", report.step, rank=str(report.rank))
        if not report.steps_per_s:
            return
        self._set("selfseg_steps_per_second", report.steps_per_s, rank=str(report.rank))
        self._set("selfseg_wait_share", report.wait_share, rank=str(report.rank))
        if report.rank == 0:
            self._set("selfseg_checkpoint_seconds", report.checkpoint_s)
            for player, terms in report.terms.items():
                self._set("selfseg_loss", terms["loss"], player=player)

    def saved(self) -> None:
        """Count a committed checkpoint."""
        self._count("selfseg_checkpoints_total")

    def restarted(self) -> None:
        """Count a restart."""
        self._count("selfseg_restarts_total")

    def goodput(self, share: float) -> None:
        """Publish the goodput."""
        self._set("selfseg_goodput", share)

    def _count_skipped(self, report: Report) -> None:
        """Count what was skipped since this process began; every worker skips the same steps."""
        more = 0 if self._skipped is None else report.skipped - self._skipped
        self._skipped = report.skipped
        if report.rank == 0 and more > 0:
            self._count("selfseg_skipped_steps_total", more)

    def _set(self, name: str, value: float, **tags: str) -> None:
        _gauge(name).set(value, tags={"run": self._run, **tags})

    def _count(self, name: str, number: int = 1) -> None:
        _counter(name).inc(number, tags={"run": self._run})


@cache
def publisher(run_url: str) -> Publisher:
    """Return what publishes the run's metrics, tagged by the last part of its URL."""
    return Publisher(run_url.rstrip("/").rpartition("/")[2])


def publish_goodput(run_url: str, done: threading.Event) -> None:
    """Publish the run's goodput now and then until `done`."""
    pause_s = GOODPUT_S
    while not done.wait(pause_s):
        began = time.perf_counter()
        # Also where workers begin anew and drop old lines, and where a record is damaged.
        with suppress(UserError), storage.impatient():
            if found := read_goodput(run_url):
                publisher(run_url).goodput(found.share)
        pause_s = max(GOODPUT_S, (time.perf_counter() - began) / GOODPUT_COST)


@cache
def _gauge(name: str) -> Gauge:
    description, tags = _GAUGES[name]
    return Gauge(name, description, tag_keys=tags)


@cache
def _counter(name: str) -> Counter:
    return Counter(name, _COUNTERS[name], tag_keys=("run",))
