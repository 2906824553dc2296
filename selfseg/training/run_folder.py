"""A run's folder belongs to one experiment: claimed at the start, checked at every rerun."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from selfseg import storage
from selfseg.errors import UsageError
from selfseg.redaction import redacted
from selfseg.training.checkpoint import RunRecord, committed

RUN = "run.json"

AT_ONCE = 16
"""Questions to a store at a time: enough to hide its answers' delay."""


def claim(run_url: str, record: RunRecord, *, command: str) -> None:
    """Make `run_url` the folder of this run, or see that it already is.

    A run that never came to a checkpoint has nothing to lose, so other settings may replace it.

    Raises:
        UsageError: it holds another run, or something else; names what differs.
    """
    found = read_record(run_url)
    if found is not None and (found == record or committed(run_url)):
        check_same(record, found, origin=f"--run {run_url}", option="--run")
        return
    about = {
        "command": redacted(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("selfseg", "torch", "ray")},
    }
    document = {**record.model_dump(mode="json"), **about}
    storage.write(storage.join(run_url, RUN), (json.dumps(document, indent=2) + "\n").encode())


def read_record(run_url: str) -> RunRecord | None:
    """Return what the run at `run_url` was started with; None if the place is empty.

    Raises:
        UsageError: the place holds something else.
    """
    try:
        document = json.loads(storage.read(storage.join(run_url, RUN)))
        known = {name: document[name] for name in RunRecord.model_fields}
    except storage.MissingObject:
        if names := storage.listing(run_url):
            raise UsageError(
                f"--run {run_url}: holds something else ({names[0]}): give an empty or new folder"
            ) from None
        return None
    except (ValueError, KeyError, TypeError):
        raise UsageError(
            f"--run {run_url}: its {RUN} is not one of a run: give an empty or new folder"
        ) from None
    return RunRecord.parse(known, origin=storage.join(run_url, RUN))


def check_same(wanted: RunRecord, found: RunRecord, *, origin: str, option: str) -> None:
    """Refuse to go on under other settings or on other data than before.

    The collection may have moved: its manifest says what it is.

    Args:
        wanted: what the run is to be.
        found: what it was started as.
        origin: begins the line of a mistake.
        option: which of the command's says where the run is.

    Raises:
        UsageError: they differ; names in what.
    """
    differences = list(_differences(wanted.settings, found.settings))
    if wanted.manifest != found.manifest:
        differences.append(f"collection {found.collection} with manifest {found.manifest[:12]}")
    if differences:
        shown = ", ".join(differences[:3]) + (", ..." if differences[3:] else "")
        raise UsageError(
            f"{origin}: was started with {shown}: repeat that command to go on, or give another "
            f"{option}"
        )


def find_runs(url: str) -> list[str]:
    """Return the URLs of all runs at `url` and below it, sorted; a run's folder holds no others.

    One question for each folder on the way, several at a time.
    """
    found: list[str] = []
    level = [url]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while level:
            below: list[str] = []
            for place, names in zip(level, pool.map(storage.entries, level), strict=True):
                if RUN in names:
                    found.append(place)
                else:
                    below += [storage.join(place, name) for name in names if name.endswith("/")]
            level = below
    return sorted(found)


def _differences(
    wanted: Mapping[str, Any], found: Mapping[str, Any], path: str = ""
) -> Iterator[str]:
    """Name the settings that differ, with the value found."""
    for name in dict.fromkeys([*found, *wanted]):
        before, now = found.get(name), wanted.get(name)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(now, before, f"{path}{name}.")
        elif before != now:
            yield f"{path}{name}={json.dumps(before)} (now {json.dumps(now)})"
