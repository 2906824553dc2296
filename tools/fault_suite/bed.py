"""Where faulted runs take place: several nodes, a collection, and a store that may fail."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from cluster.local_cluster import HOST, STORE_BYTES, cluster_folder, free_port, set_environment
from tests.integration.broken_network import Proxy
from tools.local_s3 import local_s3

if TYPE_CHECKING:
    from ray._private.node import Node
    from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
BUCKET = "faults"


@dataclass(slots=True)
class Nodes:
    """A head without CPUs, where commands run, and nodes of one CPU, where workers do.

    Longer-lived than a run: a node that is lost is replaced, and so may be the whole cluster.
    """

    num: int
    folder: Path
    _cluster: "Cluster | None" = None

    @property
    def address(self) -> str:
        """Return what RAY_ADDRESS is to be."""
        return str(self._running().address)

    def start(self) -> None:
        """Start all nodes."""
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - reads variables when imported

        head = {"num_cpus": 0, "temp_dir": str(self.folder), "gcs_server_port": free_port()}
        self._cluster = Cluster(initialize_head=True, head_node_args=_COMMON | head)
        self.replenish()

    def replenish(self) -> None:
        """Add nodes until there are as many as at the start."""
        while len(self._running().worker_nodes) < self.num:
            self.add()

    def add(self) -> None:
        """Add a node."""
        self._running().add_node(num_cpus=1, **_COMMON)

    def hosting(self, pid: int) -> "Node":
        """Return the node that a process belongs to."""
        above = {process.pid for process in psutil.Process(pid).parents()}
        return next(node for node in self._running().worker_nodes if _raylet(node) in above)

    def kill(self, node: "Node") -> None:
        """Let a node vanish with every process on it, as one that loses its power."""
        kill_tree(_raylet(node))
        self._running().remove_node(node, allow_graceful=False)

    def drain(self, node: "Node", notice_s: float) -> None:
        """Announce that a node will be taken, as clouds do with spot machines."""
        from ray._raylet import GcsClient  # noqa: PLC0415 # pyright: ignore[reportAttributeAccessIssue] # compiled
        from ray.core.generated import autoscaler_pb2  # noqa: PLC0415

        deadline_ms = round(1000 * (time.time() + notice_s))
        reasons = autoscaler_pb2.DrainNodeReason  # pyright: ignore[reportAttributeAccessIssue] # generated
        reason = reasons.Value("DRAIN_NODE_REASON_PREEMPTION")
        client = GcsClient(address=self.address)
        accepted, why = client.drain_node(node.node_id, reason, "spot machine taken", deadline_ms)
        assert accepted, why

    def processes(self) -> list[int]:
        """Return all processes of all nodes."""
        cluster = self._running()
        tops = [
            psutil.Process(_raylet(each)) for each in [*cluster.worker_nodes, cluster.head_node]
        ]
        return [process.pid for top in tops for process in top.children(recursive=True)]

    def kill_all(self) -> None:
        """Let the whole cluster vanish, the head included."""
        cluster = self._running()
        for node in [*cluster.worker_nodes, cluster.head_node]:
            kill_tree(_raylet(node))
        self.stop()

    def stop(self) -> None:
        """End what is left."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.shutdown()

    def _running(self) -> "Cluster":
        assert self._cluster is not None
        return self._cluster


_COMMON = {"node_ip_address": HOST, "object_store_memory": STORE_BYTES}


def _raylet(node: "Node") -> int:
    return node.all_processes["raylet"][0].process.pid


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and all below it."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        for process in [top, *top.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass(frozen=True, slots=True)
class Bed:
    """What all runs of a suite share.

    proxy: between the runs and the S3 server; None: no run needs it
    cache: where nodes keep shards of the bucket
    """

    folder: Path
    nodes: Nodes
    collection: Path
    proxy: Proxy | None
    cache: Path

    def command(
        self, recipe: Path | str, run_url: str, notes: Path, workers: int, *changes: str
    ) -> "Command":
        """Return what trains a run on this bed, with settings as `--set`; it is not started yet."""
        stored = run_url.startswith("s3://")
        collection = f"s3://{BUCKET}/collection" if stored else str(self.collection)
        notes.mkdir(parents=True, exist_ok=True)
        arguments = [
            "train", str(recipe), "--collection", collection, "--run", run_url,
            "--workers", str(workers), *(part for each in changes for part in ("--set", each)),
        ]  # fmt: skip
        program = [sys.executable, "-m", "tools.fault_suite.spied", *arguments]
        return Command(program, self.nodes, notes)


@dataclass(slots=True)
class Command:
    """A command that may be given again; its output is kept."""

    program: Sequence[str]
    nodes: Nodes
    notes: Path
    given: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def output(self) -> Path:
        """Return the file that holds what it printed, all times together."""
        return self.notes / "output.txt"

    def give(self) -> None:
        """Start it."""
        environment = os.environ | {"RAY_ADDRESS": self.nodes.address, "NOTES": str(self.notes)}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.program, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.given += 1

    def running(self) -> "subprocess.Popen[bytes]":
        """Return its process, which may have ended."""
        assert self.process is not None
        return self.process

    def wait(self, limit_s: float) -> int | None:
        """Return its exit code; None: it ran past the limit and was killed."""
        try:
            return self.running().wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal and wait for its end; one that does not heed it is killed."""
        process = self.running()
        process.send_signal(how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def made(num_nodes: int, *, stored: bool) -> Iterator[Bed]:
    """Make a bed for the time of the context; stored: some runs want the store."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        os.environ |= {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "SELFSEG_CACHE": str(folder / "cache"),
            # Less than the recipes' hang_timeout_s, and more than a fault lasts.
            "SELFSEG_STORAGE_PATIENCE": "45",
        }
        collection = make_collection(folder)
        proxy = _store(stack, folder, collection) if stored else None
        for_ray = stack.enter_context(cluster_folder())
        set_environment(for_ray / "token")
        nodes = Nodes(num_nodes, for_ray)
        stack.callback(nodes.stop)
        nodes.start()
        yield Bed(folder, nodes, collection, proxy, folder / "cache")


def make_collection(folder: Path) -> Path:
    """Film made-up scenes and ingest them, by the project's own tools, into a few shards."""
    scenes, collection = folder / "scenes", folder / "collection"
    _tool("make_scenes.py", scenes, "--videos", 6, "--frames", 24, "--size", 96)
    _tool(
        "shard_videos.py", scenes / "videos", "--output", collection,
        "--height", 96, "--workers", 1, "--shard-megabytes", 1,
    )  # fmt: skip
    return collection


def _store(stack: ExitStack, folder: Path, collection: Path) -> Proxy:
    """Serve a bucket that holds the collection; all reach it through a proxy that may fail."""
    own = stack.enter_context(local_s3(folder / "objects", [BUCKET]))
    proxy = stack.enter_context(Proxy.before(own["AWS_ENDPOINT_URL"]))
    os.environ |= own | {"AWS_ENDPOINT_URL": proxy.url}
    _tool("collection.py", "copy", collection, f"s3://{BUCKET}/collection")
    return proxy


def _tool(name: str, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, ROOT / "tools" / name, *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def wait_until(happened: Callable[[], bool], limit_s: float) -> bool:
    """Look until something has happened; False: not within the limit."""
    deadline = time.monotonic() + limit_s
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
