"""What goes wrong on clusters: each kind of fault as a function that lets it happen to a run."""

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import psutil

from selfseg.training import checkpoint, commit
from tests.integration.broken_network import Fault, Proxy
from tools.fault_suite.bed import Bed, Command, wait_until
from tools.fault_suite.history import Attempt, read_attempts
from tools.fault_suite.schedule import Planned

PATIENCE_S = 300.0
"""For what comes within seconds on an idle machine."""

VERBS = ("GET", "PUT", "HEAD", "POST", "DELETE")

ROOM_BYTES = 65536
"""Left to each file of a worker whose disk is full: its log needs less, a checkpoint more."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A run in progress that a fault is about to strike."""

    bed: Bed
    command: Command
    run_url: str
    planned: Planned

    def attempts(self, rank: int = 0) -> list[Attempt]:
        """Return what a worker did so far."""
        return read_attempts(self.command.notes / f"rank_{rank}.jsonl")

    def worker(self, rank: int) -> int:
        """Return the process that is a worker now."""
        return self.attempts(rank)[-1].pid

    def workers(self) -> list[int]:
        """Return the processes of all workers, by rank."""
        return [self.worker(rank) for rank in range(self.bed.nodes.num)]

    def draw(self) -> Random:
        """Return what decides all that the plan leaves open."""
        return Random(self.planned.seed)

    def proxy(self) -> Proxy:
        """Return what stands before the store."""
        assert self.bed.proxy is not None
        return self.bed.proxy


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    strike: lets it happen; returns when it is over
    stored: the run's home is the store, not a folder
    again: the command ends, and a person gives it again; otherwise the run goes on by itself
    """

    strike: Callable[[Scene], None]
    stored: bool = field(default=False, kw_only=True)
    again: bool = field(default=False, kw_only=True)


def kill_worker(scene: Scene) -> None:
    """Let one worker vanish, as the kernel does that runs out of memory."""
    psutil.Process(scene.worker(scene.planned.rank)).kill()


def kill_all_workers(scene: Scene) -> None:
    """Let all vanish at once."""
    for pid in scene.workers():
        psutil.Process(pid).kill()


def kill_again_at_the_start(scene: Scene) -> None:
    """Kill a worker, and its successor before that has taken a step."""
    before = len(scene.attempts(scene.planned.rank))
    kill_worker(scene)
    _expect(lambda: len(scene.attempts(scene.planned.rank)) > before, "no new attempt")
    kill_worker(scene)


def kill_loader(scene: Scene) -> None:
    """Let a process vanish that prepares a worker's batches."""
    (server,) = [
        each
        for each in psutil.Process(scene.worker(scene.planned.rank)).children()
        if "forkserver" in " ".join(each.cmdline())
    ]
    scene.draw().choice(server.children()).kill()


def kill_node(scene: Scene) -> None:
    """Let a worker's node vanish; another comes seconds later."""
    nodes = scene.bed.nodes
    nodes.kill(nodes.hosting(scene.worker(scene.planned.rank)))
    time.sleep(scene.planned.seconds)
    nodes.replenish()


def preempt_node(scene: Scene) -> None:
    """Give notice to a worker's node and take it when the notice has run out."""
    nodes = scene.bed.nodes
    node = nodes.hosting(scene.worker(scene.planned.rank))
    nodes.drain(node, scene.planned.seconds)
    nodes.add()
    time.sleep(scene.planned.seconds)
    nodes.kill(node)


def lose_cluster(scene: Scene) -> None:
    """Let all nodes vanish, the head and the command on it included; start another cluster."""
    scene.command.kill()
    scene.bed.nodes.kill_all()
    scene.bed.nodes.start()


def end_command(how: signal.Signals, scene: Scene) -> None:
    """Send the command a signal, and wait for its end."""
    scene.command.kill(how)


def kill_controller(scene: Scene) -> None:
    """Let the process vanish in which Ray Train watches over the workers."""
    everyone = psutil.process_iter(["cmdline", "pid"])
    titles = {process.info["pid"]: " ".join(process.info["cmdline"] or ()) for process in everyone}
    below = scene.bed.nodes.processes()
    pid = next(pid for pid in below if titles.get(pid, "").startswith("ray::TrainController"))
    psutil.Process(pid).kill()


def damage_checkpoint(scene: Scene) -> None:
    """Turn one bit of the newest checkpoint while nobody trains."""
    scene.command.kill()
    newest = _newest(scene)
    files = sorted(path for path in newest.iterdir() if path.name != commit.COMMIT)
    _flip_a_bit(scene.draw().choice(files), scene.draw())


def lose_checkpoint_file(scene: Scene) -> None:
    """Remove a file of the newest checkpoint while nobody trains."""
    scene.command.kill()
    files = sorted(path for path in _newest(scene).iterdir() if path.name != commit.COMMIT)
    scene.draw().choice(files).unlink()


def tear_commit(scene: Scene) -> None:
    """Cut the newest checkpoint's COMMIT.json short while nobody trains."""
    scene.command.kill()
    path = _newest(scene) / commit.COMMIT
    whole = path.read_bytes()
    path.write_bytes(whole[: scene.draw().randrange(len(whole) - 1)])


def kill_in_a_write(scene: Scene) -> None:
    """Kill the worker that saves when it is about to put one of a checkpoint's files."""
    files = (commit.WEIGHTS, commit.OPTIMISERS, commit.PROGRESS, commit.COMMIT)
    fault = Fault(
        f"/{scene.draw().choice(files)}", times=1, refusal=(503, "SlowDown"), verbs=("PUT",)
    )
    proxy = scene.proxy()
    proxy.on_strike = psutil.Process(scene.worker(0)).kill
    try:
        with _failing(proxy, fault):
            _expect(lambda: proxy.struck > 0, "no checkpoint was written")
    finally:
        proxy.on_strike = lambda: None


def refuse_requests(scene: Scene) -> None:
    """Let the store answer 503 to everything for seconds."""
    fault = Fault("", refusal=(503, "SlowDown"), verbs=VERBS)
    with _failing(scene.proxy(), fault):
        time.sleep(scene.planned.seconds)


def take_store_down(scene: Scene) -> None:
    """Let the store hang up on everybody for seconds."""
    proxy = scene.proxy()
    proxy.down = True
    try:
        time.sleep(scene.planned.seconds)
    finally:
        proxy.down = False


def lose_answers(scene: Scene) -> None:
    """Let the store do what it is told, and nobody hear of it, a few times."""
    proxy = scene.proxy()
    proxy.lost_answers = scene.draw().randint(1, 4)
    try:
        _expect(lambda: proxy.lost_answers == 0, "nothing was written")
    finally:
        proxy.lost_answers = 0


def damage_cached_shard(scene: Scene) -> None:
    """Turn a bit of every downloaded shard, and kill a worker so that its successor reads them."""
    shards = sorted(path for path in scene.bed.cache.iterdir() if len(path.name) == 64)
    for shard in shards:
        _flip_a_bit(shard, scene.draw())
    kill_worker(scene)


def stop_for_a_while(scene: Scene) -> None:
    """Let a worker stand still for seconds, as on a node that swaps."""
    worker = psutil.Process(scene.worker(scene.planned.rank))
    worker.suspend()
    try:
        time.sleep(scene.planned.seconds)
    finally:
        worker.resume()


def stop_for_ever(scene: Scene) -> None:
    """Let a worker stand still for good, as on a GPU that does not answer."""
    psutil.Process(scene.worker(scene.planned.rank)).suspend()


def fill_disk(scene: Scene) -> None:
    """Let no file grow as large as a checkpoint for seconds: a disk of which others need all."""
    workers = scene.workers()
    for pid in workers:
        _limit_files(pid, ROOM_BYTES)
    time.sleep(scene.planned.seconds)
    for pid in workers:
        if psutil.pid_exists(pid):
            _limit_files(pid, resource.RLIM_INFINITY)


KINDS = {
    "worker killed": Kind(kill_worker),
    "all workers killed": Kind(kill_all_workers),
    "worker killed, and its successor": Kind(kill_again_at_the_start),
    "loader process killed": Kind(kill_loader),
    "node lost": Kind(kill_node),
    "node preempted": Kind(preempt_node),
    "cluster lost": Kind(lose_cluster, again=True),
    "command killed": Kind(partial(end_command, signal.SIGKILL), again=True),
    "command terminated": Kind(partial(end_command, signal.SIGTERM), again=True),
    "command interrupted": Kind(partial(end_command, signal.SIGINT), again=True),
    "controller killed": Kind(kill_controller, again=True),
    "checkpoint damaged": Kind(damage_checkpoint, again=True),
    "checkpoint file lost": Kind(lose_checkpoint_file, again=True),
    "commit torn": Kind(tear_commit, again=True),
    "killed in a write": Kind(kill_in_a_write, stored=True),
    "store refuses": Kind(refuse_requests, stored=True),
    "store down": Kind(take_store_down, stored=True),
    "answers lost": Kind(lose_answers, stored=True),
    "cached shards damaged": Kind(damage_cached_shard, stored=True),
    "worker stopped for a while": Kind(stop_for_a_while),
    "worker stopped for ever": Kind(stop_for_ever),
    "disk full": Kind(fill_disk, again=True),
}


@contextmanager
def _failing(proxy: Proxy, fault: Fault) -> Iterator[None]:
    proxy.struck, proxy.fault = 0, fault
    try:
        yield
    finally:
        proxy.fault = None


def _expect(happened: Callable[[], bool], otherwise: str) -> None:
    if not wait_until(happened, PATIENCE_S):
        raise TimeoutError(f"{otherwise} within {PATIENCE_S:.0f} s")


def _newest(scene: Scene) -> Path:
    return Path(checkpoint.committed(scene.run_url)[-1])


def _flip_a_bit(path: Path, draw: Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _limit_files(pid: int, size: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
