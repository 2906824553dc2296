"""A program that ingests long videos, on a Ray of its own or on nodes of which one is lost.

python -m tests.distributed.ray_ingest FOLDER OUTPUT STRETCH_FRAMES [lose-a-node]
"""

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from rich.console import Console

from cluster.local_cluster import HOST, STORE_BYTES, free_port
from selfseg.data.format.settings import IngestSettings
from selfseg.runtime.ingest import Job, ingest

SETTINGS = IngestSettings(height=32, gaps=(1, 2), background="median")


def job(folder: Path, output: str, stretch_frames: int) -> Job:
    return Job(
        inputs=(folder,),
        output=output,
        masks_root=None,
        settings=SETTINGS,
        shard_bytes=400_000,
        workers=2,
        stretch_frames=stretch_frames,
    )


def once_spooled(output: Path, stretches: int, action: Callable[[], None]) -> threading.Thread:
    """Do something as soon as so many ledgers, or surveys, lie in the spool."""

    def wait() -> None:
        while len(list(output.glob("spool/*.json"))) < stretches:
            threading.Event().wait(0.02)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@contextmanager
def three_nodes(when: Callable[[Callable[[], None]], threading.Thread]) -> Iterator[None]:
    """Start a head without CPUs and two nodes of one; lose one `when` the caller says so."""
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        common = {"node_ip_address": HOST, "object_store_memory": STORE_BYTES}
        head = {"num_cpus": 0, "temp_dir": folder, "gcs_server_port": free_port()}
        cluster = Cluster(initialize_head=True, head_node_args=common | head)
        try:
            ray.init(address=cluster.address, log_to_driver=False)
            nodes = [cluster.add_node(num_cpus=1, **common) for _ in range(2)]
            here = ray.get_runtime_context().get_node_id()
            lost = next(node for node in nodes if node.node_id != here)
            loser = when(lambda: lost.kill_raylet(check_alive=False))
            yield
            assert not loser.is_alive()
        finally:
            ray.shutdown()
            cluster.shutdown()


def main() -> None:
    folder, output, stretch_frames, *lose = sys.argv[1:]
    nodes = (
        three_nodes(lambda action: once_spooled(Path(output), 4, action)) if lose else nullcontext()
    )
    with nodes:
        ingest(job(Path(folder), output, int(stretch_frames)), Console(quiet=True))


if __name__ == "__main__":
    main()
