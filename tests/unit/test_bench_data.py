"""The program `tools/bench_data.py`: what is read, and how it is told; the times are its own."""

import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from data_bench import memory, selfseg_shards
from data_bench.comparing import LIBRARIES, Cell, Results
from data_bench.frames import HEIGHT, WIDTH, make_frames
from data_bench.growth import Cost
from data_bench.reading import BATCH, Reading
from data_bench.showing import comparison_table, drawing, reasons

from selfseg.data.format.schema import decode_image, sample_key

PROGRAM = Path(__file__).parents[2] / "tools" / "bench_data.py"
FRAMES = 3 * BATCH


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return make_frames(tmp_path_factory.mktemp("made") / "frames", FRAMES)


@pytest.fixture(scope="module")
def place(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "selfseg"
    selfseg_shards.write(frames, folder)
    return folder


def test_frames_differ_and_are_of_the_size_that_is_told(frames):
    files = [frame.read_bytes() for frame in frames]
    assert len(set(files)) == FRAMES
    assert np.mean([len(data) for data in files]) == pytest.approx(137_000, rel=0.05)
    assert decode_image(files[0]).shape == (HEIGHT, WIDTH, 3)


def epoch_of_our_own_shards(place: str, processes: int) -> dict[str, bytes]:
    reading = Reading(place, "", checked=True, processes=processes)
    return {
        key: data if isinstance(data, bytes) else data.numpy().tobytes()
        for batch in islice(selfseg_shards.batches(reading), 3)
        for key, data in zip(batch.keys, batch.contents, strict=True)
    }


@pytest.mark.parametrize("processes", [0, 1])
def test_an_epoch_of_our_own_shards_holds_every_frame_once(frames, place, processes):
    # Loader processes are forks here, of a process that has no threads yet.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        read = pool.submit(epoch_of_our_own_shards, str(place), processes).result()
    assert read == {
        sample_key(selfseg_shards.VIDEO, number): frame.read_bytes()
        for number, frame in enumerate(frames)
    }


def test_the_reference_decodes_the_same_frames(frames, tmp_path):
    memory.write(frames, tmp_path / "memory")
    batch = next(memory.batches(Reading(str(tmp_path / "memory"), "", decoded=True)))
    for key, frame in zip(batch.keys, batch.contents, strict=True):
        data = (tmp_path / "memory" / f"{key}.jpg").read_bytes()
        assert (np.asarray(frame) == decode_image(data)).all()


def ask(*requests: dict) -> list[dict]:
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [sys.executable, str(PROGRAM), "--serve", "selfseg_shards"]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=True, timeout=120
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_host_answers_every_request_and_survives_what_fails(place):
    reading = {"place": str(place), "cache": "", "checked": True}
    pause = {"measure": "pause", "reading": reading, "after": 1}
    (stopped,) = ask(pause)
    expected = [
        batch.keys
        for batch in islice(selfseg_shards.batches(Reading(str(place), "", checked=True)), 2)
    ]
    assert stopped["upcoming"] == expected[1]
    resume = {"measure": "resume", "reading": reading, **stopped}
    answers = ask(
        resume,
        resume | {"upcoming": ["another"]},
        resume | {"reading": reading | {"place": str(place / "nowhere")}},
        {"measure": "rate", "reading": reading | {"checked": False}, "seconds": 0.01},
        {"measure": "rate", "reading": reading, "seconds": 0.01},
        {"measure": "cold", "reading": reading, "samples": FRAMES},
    )
    assert answers[0]["resume_s"] > 0
    assert "other samples" in answers[1]["failed"]
    assert "ended with status" in answers[2]["failed"]
    for answer in answers[3:5]:
        assert min(answer["samples_per_s"], answer["first_s"]) > 0
    assert answers[5]["samples_per_s"] > 0


def rates(factor: float) -> dict[Cell, list[float]]:
    """Figures of two libraries that scale with their processes, in three repetitions each."""
    return {
        Cell(f"{how}, {processes} processes, samples/s", library): [
            1,
            factor * (1 + processes),
            1e9,
        ]
        for how in ("raw", "decoded")
        for processes in (0, 1, 2)
        for library in ("selfseg", "litdata")
    }


def test_the_table_has_medians_and_says_once_why_there_are_none():
    missing = {Cell(f"raw, checked, {n} processes, samples/s", "litdata"): "no" for n in (0, 1)}
    results = Results(rates(100), missing)
    table = comparison_table(results)
    assert [column.header for column in table.columns] == ["", *LIBRARIES]
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    assert ("raw, 1 processes, samples/s", "200", "", "", "200", "") in rows
    assert ("raw, checked, 1 processes, samples/s", "", "", "", "", "") in rows
    assert list(reasons(results)) == ["litdata: no"]


def test_the_figure_has_a_line_for_each_library_that_was_measured_everywhere():
    figures = rates(100)
    del figures[Cell("raw, 2 processes, samples/s", "litdata")]
    costs = {10: Cost(0.1, 100, 300), 100: Cost(0.2, 100, 300)}
    root = ElementTree.fromstring(drawing(Results(figures, {}), costs, costs))
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    # raw: selfseg; decoded: both; samples and shards: a rate, then memory and opening.
    assert len(lines) == 1 + 2 + 2 * (1 + 2)
