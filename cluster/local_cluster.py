"""Start a Ray cluster of several nodes on this machine, to try what runs on a real one.

python cluster/local_cluster.py --nodes 3                    serve until Ctrl-C
python cluster/local_cluster.py --nodes 3 --run -- COMMAND   serve for the length of one command
python cluster/local_cluster.py --prometheus                 collect its metrics, too

It listens on 127.0.0.1 alone and serves those who have its token. The nodes pass this program's
environment on to jobs: set the AWS_* variables of the storage before starting it.
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

HOST = "127.0.0.1"
READY_WITHIN_S = 180
STORE_BYTES = 256 * 1024 * 1024
DISCOVERY = "prom_metrics_service_discovery.json"
"""Where Ray keeps the list of nodes for Prometheus, in its temporary folder."""


@contextmanager
def local_cluster(nodes: int, cpus: int, dashboard_port: int | None) -> Iterator[dict[str, str]]:
    """Run a cluster while the context lasts; yield the variables that reach it.

    Args:
        nodes: in all, the head among them.
        cpus: that each offers, whatever the machine has.
        dashboard_port: None takes a free one.
    """
    with cluster_folder() as folder:
        token = folder / "token"
        access = set_environment(token)
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - reads the variables when imported

        port = dashboard_port or free_port()
        common = {"num_cpus": cpus, "node_ip_address": HOST, "object_store_memory": STORE_BYTES}
        cluster = Cluster(initialize_head=True, head_node_args=common | head_options(folder, port))
        try:
            for _ in range(nodes - 1):
                cluster.add_node(**common)
            # As `ray start` leaves it: a job looks here for its cluster, and without it at all
            # clusters of this machine, of which it may take another.
            (folder / "ray_current_cluster").write_text(str(cluster.address))
            wait_for_dashboard(port, token.read_text())
            yield {
                "RAY_ADDRESS": str(cluster.address),
                "RAY_API_SERVER_ADDRESS": f"http://{HOST}:{port}",
                **access,
            }
        finally:
            cluster.shutdown()


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """Make a folder for Ray while the context lasts, in which a file, token, holds a new one."""
    # In /tmp whatever TMPDIR says: a socket's path is short of 108 characters.
    # What a killed job left behind may still write its log there while all is removed.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name:
        token = Path(name, "token")
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        yield Path(name)


def set_environment(token: Path) -> dict[str, str]:
    """Set what Ray reads when it is imported; return what others need to reach the cluster."""
    access = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        # Ray replaces 127.0.0.1 by the machine's own address, where nobody listens, unless it
        # holds the machine for one that clusters cannot span.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    os.environ |= access | {
        "RAY_USAGE_STATS_ENABLED": "0",
        # A job finds the programs that were installed beside this Python.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN"):
        os.environ.pop(name, None)
    return access


def head_options(folder: Path, dashboard_port: int) -> dict[str, object]:
    """Return what the head has and other nodes have not."""
    return {
        "temp_dir": str(folder),
        "gcs_server_port": free_port(),
        "include_dashboard": True,
        "dashboard_host": HOST,
        "dashboard_port": dashboard_port,
        # Jobs go through this agent; on Ray's own port another cluster's may be listening.
        "dashboard_agent_listen_port": free_port(),
    }


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Run Prometheus over a cluster's metrics while the context lasts; yield its address.

    Args:
        folder: Ray's temporary one; what is collected is kept there, and goes with it.
    """
    template = Path(__file__).with_name("prometheus.yml").read_text()
    config = folder / "prometheus.yml"
    config.write_text(template.replace("/tmp/ray/", f"{folder}/"))
    port = free_port()
    command = ["prometheus", f"--config.file={config}", f"--web.listen-address={HOST}:{port}"]
    command.append(f"--storage.tsdb.path={folder / 'prometheus'}")
    with Path(folder, "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def wait_for_dashboard(port: int, token: str) -> None:
    """Wait until jobs can be submitted."""
    request = urllib.request.Request(f"http://{HOST}:{port}/api/jobs/")
    request.add_header("Authorization", f"Bearer {token}")
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except (urllib.error.URLError, TimeoutError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"the cluster's dashboard did not come up: {error}")
            time.sleep(0.3)
        else:
            return


def main() -> None:
    """Serve, until Ctrl-C or for one command."""
    arguments = parse_arguments()
    with local_cluster(arguments.nodes, arguments.cpus, arguments.dashboard_port) as variables:
        # Ray's own answer drains the nodes for half a minute.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        folder = Path(variables["RAY_AUTH_TOKEN_PATH"]).parent
        with prometheus(folder) if arguments.prometheus else nullcontext() as metrics:
            if arguments.run:
                environment = os.environ | variables
                done = subprocess.run(arguments.command, env=environment, check=False)
                sys.exit(done.returncode)
            greet(arguments, variables)
            print(f"Metrics: {metrics or folder / DISCOVERY}. Ctrl-C ends everything.", flush=True)
            try:
                signal.pause()
            except KeyboardInterrupt:
                print("stopping")


def greet(arguments: argparse.Namespace, variables: dict[str, str]) -> None:
    """Say how to reach the cluster and what to do with it."""
    print(f"{arguments.nodes} nodes, {arguments.cpus} CPUs each. In another shell:\n")
    for name, value in variables.items():
        print(f"export {name}={value}")
    print(
        "\nray job submit --runtime-env cluster/runtime_env.yaml --"
        f" selfseg train RECIPE --collection URL --run URL --workers {arguments.nodes}\n\n"
        f"Dashboard: {variables['RAY_API_SERVER_ADDRESS']} asks for the token in that file."
    )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=3, help="in all (default: 3)")
    parser.add_argument("--cpus", type=int, default=1, help="of each node (default: 1)")
    parser.add_argument("--dashboard-port", type=int, help="(default: a free one)")
    parser.add_argument("--prometheus", action="store_true", help="run Prometheus beside it")
    parser.add_argument("--run", action="store_true", help="serve for one command: -- COMMAND...")
    parser.add_argument("command", nargs="*", help="the command of --run, after --")
    arguments = parser.parse_args()
    if arguments.run != bool(arguments.command):
        parser.error("--run and a command after -- belong together")
    if arguments.run and shutil.which(arguments.command[0]) is None:
        parser.error(f"{arguments.command[0]}: no such command")
    if arguments.prometheus and shutil.which("prometheus") is None:
        parser.error("--prometheus: not installed; on Debian, apt-get install prometheus")
    if arguments.nodes < 1 or arguments.cpus < 1:
        parser.error("--nodes and --cpus: at least one")
    return arguments


if __name__ == "__main__":
    main()
