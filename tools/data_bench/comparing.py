"""All libraries in turn, repetition after repetition."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shutil import rmtree
from statistics import median
from typing import Any, NamedTuple

from data_bench.bucket import Bucket, buckets
from data_bench.frames import make_frames
from data_bench.reading import BATCH, Reading

from selfseg.runtime.cluster import KEEP_MEMORY

LIBRARIES = {
    "selfseg": "selfseg_shards",
    "webdataset": "webdataset_tars",
    "mosaicml-streaming": "mosaicml_mds",
    "litdata": "litdata_chunks",
    "memory": "memory",
}
"""The module of each, by name."""

OURS = "selfseg"
"""Reads with its checks on, as in training, wherever it is not said otherwise."""

PROCESSES = (0, 1, 2)

PROGRAM = Path(__file__).parent.parent / "bench_data.py"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    folder: for samples and objects
    samples: frames, a multiple of the batch
    repetitions: of every measurement
    seconds: that each rate is taken over
    """

    folder: Path
    samples: int
    repetitions: int
    seconds: float

    @property
    def middle(self) -> int:
        """Batches before a pause in the middle of an epoch."""
        return self.samples // BATCH // 2


class Cell(NamedTuple):
    """One figure of the table: a row's name and unit, and a library."""

    row: str
    library: str


@dataclass(frozen=True, slots=True)
class Results:
    """What was measured.

    figures: of every repetition
    missing: why a cell has none
    """

    figures: dict[Cell, list[float]]
    missing: dict[Cell, str]

    def median(self, row: str, library: str) -> float | None:
        """Return a cell's figure, if it has one."""
        figures = self.figures.get(Cell(row, library))
        return median(figures) if figures else None


class Host:
    """A process that has imported a library and measures it; see `data_bench.measuring`."""

    def __init__(self, library: str) -> None:
        """Start it; it imports while others do."""
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--serve", LIBRARIES[library]],
            env=os.environ | KEEP_MEMORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, measure: str, reading: Reading, **more: Any) -> dict[str, Any]:
        """Let it measure; return what it answers."""
        assert self._process.stdin
        assert self._process.stdout
        request = {"measure": measure, "reading": asdict(reading), **more}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


class Comparison:
    """The measurements of one run, made one after another."""

    def __init__(self, plan: Plan, folders: Mapping[str, Path], stored: Mapping[str, Bucket]):
        self.plan, self.folders, self.stored = plan, folders, stored
        self.results = Results(defaultdict(list), {})
        self._hosts: dict[str, Host] = {}
        self._pauses: dict[str, dict[str, Any]] = {}

    def run(self) -> Results:
        """Measure everything, as often as is planned."""
        with ExitStack() as running:
            for library in LIBRARIES:
                self._hosts[library] = host = Host(library)
                running.callback(host.close)
            for library in LIBRARIES:
                self._pauses[library] = self._ask("pause", library, after=self.plan.middle)
            for _ in range(self.plan.repetitions):
                self._repeat()
        return self.results

    def _repeat(self) -> None:
        for processes in PROCESSES:
            for checked in (False, True):
                for library in LIBRARIES:
                    if library != "memory":
                        self._raw(library, processes, checked=checked)
            for library in LIBRARIES:
                self._decoded(library, processes)
        for library in self.stored:
            self._resume(library)
            self._cold(library)

    def _raw(self, library: str, processes: int, *, checked: bool) -> None:
        answer = self._ask(
            "rate", library, processes=processes, checked=checked, seconds=self.plan.seconds
        )
        how = "raw, checked" if checked else "raw"
        self._note(f"{how}, {processes} processes, samples/s", library, answer, "samples_per_s")
        self._note(f"first {how}, {processes} processes, s", library, answer, "first_s")

    def _decoded(self, library: str, processes: int) -> None:
        answer = self._ask(
            "rate",
            library,
            processes=processes,
            decoded=True,
            seconds=self.plan.seconds,
        )
        row = f"decoded, {processes} processes, samples/s"
        self._note(row, library, answer, "samples_per_s")

    def _resume(self, library: str) -> None:
        pause = self._pauses[library]
        answer = self._ask("resume", library, **pause) if "state" in pause else pause
        self._note("resume, s", library, answer, "resume_s")

    def _cold(self, library: str) -> None:
        bucket, cache = self.stored[library], self.plan.folder / "cache"
        before = bucket.sent()
        reading = Reading(bucket.url, str(cache), processes=1, checked=library == OURS)
        answer = self._hosts[library].ask("cold", reading, samples=self.plan.samples)
        answer["ratio"] = (bucket.sent() - before) / bucket.size
        rmtree(cache, ignore_errors=True)
        self._note("cold from S3, 1 process, samples/s", library, answer, "samples_per_s")
        self._note("bytes downloaded / stored", library, answer, "ratio")

    def _ask(self, measure: str, library: str, **more: Any) -> dict[str, Any]:
        wanted = {"processes", "decoded", "checked"} & more.keys()
        reading = Reading(
            str(self.folders[library]), str(self.plan.folder / "cache"), checked=library == OURS
        )
        reading = replace(reading, **{name: more.pop(name) for name in wanted})
        warm(self.folders[library])
        return self._hosts[library].ask(measure, reading, **more)

    def _note(self, row: str, library: str, answer: Mapping[str, Any], name: str) -> None:
        cell = Cell(row, library)
        if why := answer.get("not_offered") or answer.get("failed"):
            self.results.missing[cell] = why
        else:
            self.results.figures[cell].append(answer[name])


def warm(folder: Path) -> None:
    """Have the system hold a folder's files in memory, which it may have given to others since."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


def compare(plan: Plan) -> Results:
    """Write the samples in every format, put them into buckets, and measure."""
    folders = dict(_written(plan))
    tars = folders[OURS]
    readable = {name: folder for name, folder in folders.items() if name != "memory"}
    with buckets(readable | {"webdataset": tars}, plan.folder / "objects") as stored:
        return Comparison(plan, folders, stored).run()


def _written(plan: Plan) -> Iterator[tuple[str, Path]]:
    """Write the samples in the format of each library; it is done in processes of their own."""
    frames = plan.folder / "frames"
    make_frames(frames, plan.samples)
    for library, module in LIBRARIES.items():
        # webdataset reads the tars that selfseg wrote.
        folder = plan.folder / (OURS if library == "webdataset" else library)
        if library != "webdataset":
            writing = (
                f"from pathlib import Path; from data_bench.{module} import write; "
                f"write(sorted(Path({str(frames)!r}).iterdir()), Path({str(folder)!r}))"
            )
            subprocess.run(
                [sys.executable, "-c", writing],
                check=True,
                cwd=PROGRAM.parent,
                stdout=subprocess.DEVNULL,
            )
        yield library, folder
