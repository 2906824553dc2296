"""One library's measurements, each in a process that has done nothing but import it.

A host imports the library once, then copies itself (fork) for every measurement it is told to
make, so that a repetition costs no import and inherits nothing from the one before.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from data_bench.reading import Library, NotOfferedError, Reading, begin

Answer = dict[str, Any]

WARM_UP = 8
"""Batches between the first and those that count."""


def serve(module: str) -> None:
    """Answer requests, a line of JSON each, on standard input and output until that ends.

    Whatever a library prints goes to the error stream.
    """
    library: Library = importlib.import_module(f"data_bench.{module}")  # pyright: ignore[reportAssignmentType] # a module has the functions
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    begin(0)
    gc.freeze()  # a copy that looks for garbage in it would copy every page first
    for line in sys.stdin:
        request = json.loads(line)
        reading = Reading(**request.pop("reading"))
        measure = MEASURES[request.pop("measure")]
        answer = in_a_copy(lambda: measure(library, reading, **request))  # noqa: B023 # called here
        print(answer, file=answers, flush=True)


def in_a_copy(work: Callable[[], Answer]) -> str:
    """Do the work in a copy of this process and wait for its end; return its answer as JSON."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        with os.fdopen(writer, "w") as file:
            try:
                answer = work()
            except NotOfferedError as reason:
                answer = {"not_offered": str(reason)}
            json.dump(answer, file)
        sys.exit()  # as a process of its own would: what the library left to its end is done
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return answer or json.dumps({"failed": f"its process ended with status {code}"})


def rate(library: Library, reading: Reading, *, seconds: float) -> Answer:
    """Time the first batch from before the collection is opened, then count samples.

    The next ones do not count: memory is asked for that later ones find there.
    """
    started = time.perf_counter()
    stream = library.batches(reading)
    next(stream)
    first_s = time.perf_counter() - started
    for _ in range(WARM_UP):
        next(stream)
    warm = time.perf_counter()
    samples = 0
    while (now := time.perf_counter()) < warm + seconds:
        samples += len(next(stream).keys)
    return {"first_s": first_s, "samples_per_s": samples / (now - warm)}


def pause(library: Library, reading: Reading, *, after: int) -> Answer:
    """Read some batches, and note the state and what must come next."""
    stopped = library.pause(reading, after)
    return {"state": stopped.state, "upcoming": list(stopped.upcoming)}


def resume(library: Library, reading: Reading, *, state: Any, upcoming: list[str]) -> Answer:
    """Time the first batch after a pause; another one than must come fails."""
    started = time.perf_counter()
    batch = next(library.batches(reading, state))
    seconds = time.perf_counter() - started
    if list(batch.keys) != upcoming:
        return {"failed": "went on with other samples than those that were to come"}
    return {"resume_s": seconds}


def cold(library: Library, reading: Reading, *, samples: int) -> Answer:
    """Time a whole epoch, from before the collection is opened."""
    started = time.perf_counter()
    stream = library.batches(reading)
    seen: set[str] = set()
    count = 0
    while count < samples:
        keys = next(stream).keys
        seen.update(keys)
        count += len(keys)
    seconds = time.perf_counter() - started
    if len(seen) < samples:
        return {"failed": f"{samples - len(seen)} of {samples} samples did not come"}
    return {"samples_per_s": count / seconds}


MEASURES: dict[str, Callable[..., Answer]] = {
    "rate": rate,
    "pause": pause,
    "resume": resume,
    "cold": cold,
}
