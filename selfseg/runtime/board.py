"""Where workers leave word, for the command and for each other, without waiting for anybody."""

import contextlib
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

import ray
from ray.actor import ActorProxy
from ray.exceptions import GetTimeoutError, RayError

from selfseg import storage
from selfseg.runtime.cluster import on_this_node
from selfseg.runtime.draining import DrainingNodes
from selfseg.runtime.metrics import publisher
from selfseg.training.audience import Failure, Report
from selfseg.training.watchdog import BEAT_S, Place


class Board:
    """Where worker 0 leaves its reports, and all say where they are; on the command's node.

    Ray Train hands metrics to its own controller, which polls them slowly and holds up a
    worker that reports faster; a post to an actor costs the worker nothing.
    """

    def __init__(self, run_url: str, draining: Container[str] | None = None) -> None:
        """Begin empty; `draining`: ids of the nodes that are being taken away."""
        self._publisher = publisher(run_url)
        self._reports: list[Report] = []
        self._saved = 0
        self._reached, self._reached_at = 0, 0.0
        self._failure: Failure | None = None
        self._stopping = False
        self._places: dict[int, tuple[Place, float]] = {}
        self._waiting, self._waited = set[int](), set[int]()
        self._draining = DrainingNodes() if draining is None else draining

    @ray.method
    def post(self, report: Report) -> None:
        """Take a report."""
        self._reports.append(report)
        if report.steps_per_s:
            self._reached, self._reached_at = report.step, time.time()

    @ray.method
    def note_outage(self, rank: int, note: str, waits: bool) -> None:
        """Hear that a worker waits for a store, or no more; only the first and the last are shown.

        All workers of a large run would fill the screen.
        """
        others = self._waiting - {rank}
        self._waiting = others | {rank} if waits else others
        self._waited.add(rank)
        if others:
            return
        note = f"worker {rank}: {note}"
        if not waits:
            among = ", ".join(map(str, sorted(self._waited)))
            note += f"; of the workers there waited {among}" if len(self._waited) > 1 else ""
            self._waited.clear()
        self._reports.append(Report(0, 0, notes=(note,)))

    @ray.method
    def note_failure(self, cause: str) -> None:
        """Hear why an attempt ended."""
        self._failure = Failure(cause, self._reached, self._reached_at)
        self._publisher.restarted()

    @ray.method
    def begin(self) -> Failure | None:
        """Hear that an attempt begins; return why the one before ended, if it failed."""
        self._places.clear()
        self._waiting.clear()
        self._waited.clear()
        failure, self._failure = self._failure, None
        return failure

    @ray.method
    def note_saved(self, step: int) -> None:
        """Hear of a checkpoint."""
        self._saved = step

    @ray.method
    def saved(self) -> int:
        """Return the step of the newest checkpoint of this launch."""
        return self._saved

    @ray.method
    def take(self) -> list[Report]:
        """Hand out what was posted since."""
        reports, self._reports = self._reports, []
        return reports

    @ray.method
    def stop(self) -> None:
        """Hear that the run is to be saved and stopped."""
        self._stopping = True

    @ray.method
    def stopping(self) -> bool:
        """Tell whether it is."""
        return self._stopping

    @ray.method
    def beat(self, rank: int, place: Place, node_id: str) -> bool:
        """Hear where a worker is; tell whether the run is to stop or the worker's node is taken."""
        self._places[rank] = (place, time.monotonic())
        return self._stopping or node_id in self._draining

    @ray.method
    def places(self) -> dict[int, Place]:
        """Return where workers said they were, and how long ago."""
        now = time.monotonic()
        return {
            rank: replace(place, silent_s=now - heard)
            for rank, (place, heard) in self._places.items()
        }


def put_up(run_url: str) -> ActorProxy[Board]:
    """Start a board on this node."""
    placed = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=on_this_node())
    return placed.remote(run_url)


@dataclass(frozen=True, slots=True)
class RayAudience:
    """Tells the board what worker 0 reports, and Ray's metrics what every worker does."""

    board: ActorProxy[Board]
    run_url: str

    def report(self, report: Report) -> None:
        """Post, and do not wait."""
        publisher(self.run_url).report(report)
        if report.rank == 0:
            self.board.post.remote(report)

    def outage(self, rank: int, note: str) -> None:
        """Have it shown that any worker waits for a store, or goes on."""
        self.board.note_outage.remote(rank, note, storage.is_waiting())

    def saved(self, step: int) -> None:
        """Have it noted: failures before it are forgotten."""
        publisher(self.run_url).saved()
        self.board.note_saved.remote(step)

    def begin(self) -> Failure | None:
        """Tell the board, and hear from it what the supervisor told it."""
        with contextlib.suppress(RayError):  # its node may be gone
            return ray.get(self.board.begin.remote())
        return None


class RayMeeting:
    """Where the workers of a run meet: the board. Each worker has its own."""

    def __init__(self, board: ActorProxy[Board]) -> None:
        self._board = board
        self._must_leave = False

    def beat(self, rank: int, place: Place) -> None:
        """Give a sign of life, and hear whether this worker is to leave."""
        # The board's node may be gone, or busy: the run goes on without it.
        with contextlib.suppress(RayError, GetTimeoutError):
            heard = self._board.beat.remote(rank, place, ray.get_runtime_context().get_node_id())
            self._must_leave = ray.get(heard, timeout=BEAT_S)

    def places(self) -> Mapping[int, Place]:
        """Return where all workers said they were last; none if the board does not answer."""
        with contextlib.suppress(RayError, GetTimeoutError):
            return ray.get(self._board.places.remote(), timeout=BEAT_S)
        return {}

    def tell(self, note: str) -> None:
        """Show a line at the command's terminal."""
        self._board.post.remote(Report(0, 0, notes=(note,)))

    def must_leave(self) -> bool:
        """Tell whether the run is asked to stop, or this worker's node is taken.

        Each is told of its own node alone: an exchange between all of them that is made at every
        step anyway lets them agree.
        """
        return self._must_leave
