"""When a run was worked on: its commands, and the attempts of its workers within them.

    RUN/attempts/0001.json             an attempt: by worker 0 when it begins, and at its end
    RUN/commands/1763846433.250.json   a command that came to an end, named after when it began
    RUN/holder.json                    the command given last: the only one that may commit,
                                       and write into the journal

Workers that are lost are started again by the same command, which is a new attempt; so is a
command that is given again. Times are in seconds since 1970, by the clock of who wrote them.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from selfseg import storage
from selfseg.errors import UserError
from selfseg.redaction import redacted
from selfseg.training.damaged import DamagedRecord


@dataclass(frozen=True, slots=True)
class Lost:
    """Steps that were taken, and then taken again because no checkpoint had them.

    attempt: number of the one that took them
    steps: how many are known of
    began, ended: from the first one's batch to the last that is known of
    """

    attempt: int
    steps: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """What worker 0 notes when it begins.

    number: counted from 1
    cause: why it began
    launched: when its command began
    began: when worker 0 knew where to go on
    first_step: which it took first
    workers: how many took part
    lost: steps of earlier attempts from `first_step` on
    ended: when it had done all that it was to do; None: it has not, or not yet
    """

    number: int
    cause: str
    launched: float
    began: float
    first_step: int
    workers: int
    lost: tuple[Lost, ...] = ()
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command that came to an end, well or not, and could say so.

    failure: what it failed of, in a line; empty: it did its part, or a person stopped it
    """

    began: float
    ended: float
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """The command that was given last for a run, and the process that it is."""

    began: float
    host: str
    pid: int


T = TypeVar("T")
_ATTEMPT, _COMMAND, _HOLDER = TypeAdapter(Attempt), TypeAdapter(Command), TypeAdapter(Holder)


def take_over(run_url: str, began: float) -> None:
    """Let the run belong to this command, which began then, and to no earlier one.

    Nobody waits for an earlier one, which may have been killed: `check_held` ends it.
    """
    holder = Holder(began, socket.gethostname(), os.getpid())
    storage.write(_holder_url(run_url), _HOLDER.dump_json(holder, indent=2))


def check_held(run_url: str, began: float | None) -> None:
    """See that the run still belongs to the command that began then; None: to no command.

    To be called before anything is committed or deleted that another attempt could go on from, and
    before the journal is written.

    Raises:
        UserError: another has taken over; names it.
    """
    try:
        holder = _HOLDER.validate_json(storage.read(_holder_url(run_url)))
    except (storage.MissingObject, ValidationError):
        return
    if began is not None and holder.began != began:
        since = datetime.fromtimestamp(holder.began, UTC).isoformat(timespec="seconds")
        raise UserError(
            f"{run_url}: another command has taken over this run (process {holder.pid} on "
            f"{holder.host}, started {since}): this one ends"
        )


@contextmanager
def command(run_url: str, began: float) -> Iterator[None]:
    """Note, when a command that works on the run ends, that it did, and when it `began`."""
    failure = ""
    try:
        yield
    except Exception as error:
        # Kept in the run's folder, where no secret may be.
        failure = redacted(str(error).strip().partition("\n")[0]) or type(error).__name__
        raise
    finally:
        noted = _COMMAND.dump_json(Command(began, time.time(), failure), indent=2)
        # Its absence costs a little exactness; what ended the command must not be hidden by it.
        with suppress(storage.StorageError), storage.impatient():
            storage.write(storage.join(run_url, "commands", f"{began:.3f}.json"), noted)


def finish(run_url: str, attempt: Attempt) -> None:
    """Note that an attempt has done all that it was to do."""
    write(run_url, replace(attempt, ended=time.time()))


def read_attempts(run_url: str) -> list[Attempt]:
    """Return a run's attempts, in order."""
    return _read(storage.join(run_url, "attempts"), _ATTEMPT.validate_json)


def read_commands(run_url: str) -> list[Command]:
    """Return the run's commands that came to an end, in order."""
    return _read(storage.join(run_url, "commands"), _COMMAND.validate_json)


def newest(run_url: str) -> tuple[Attempt | None, Command | None]:
    """Return a run's newest attempt, and the newest of its commands that came to an end."""
    found = _read(storage.join(run_url, "attempts"), _ATTEMPT.validate_json, last=1)
    ended = _read(storage.join(run_url, "commands"), _COMMAND.validate_json, last=1)
    return next(iter(found), None), next(iter(ended), None)


def attempt_of(step: int, attempts: Sequence[Attempt]) -> Attempt | None:
    """Return the attempt whose `step` holds: the last that began at it or before."""
    return next((each for each in reversed(attempts) if each.first_step <= step), None)


def write(run_url: str, attempt: Attempt) -> None:
    """Keep `attempt` on record."""
    url = storage.join(run_url, "attempts", f"{attempt.number:04d}.json")
    storage.write(url, _ATTEMPT.dump_json(attempt, indent=2))


def _holder_url(run_url: str) -> str:
    return storage.join(run_url, "holder.json")


def _read(folder: str, parse: Callable[[bytes], T], *, last: int = 0) -> list[T]:
    """Read the records in a folder, in order; `last` of them, or 0 for all.

    Raises:
        DamagedRecord: one cannot be read.
    """
    urls = [storage.join(folder, name) for name in storage.listing(folder)[-last:]]
    return [_parsed(url, parse) for url in urls]


def _parsed(url: str, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(storage.read(url))
    except ValidationError as error:
        raise DamagedRecord(
            f"{url}: damaged: {error.errors()[0]['msg']}; delete it: only the account of the run's "
            "time loses by that",
            url,
        ) from None
