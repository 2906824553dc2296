"""Several nodes on one machine, as a user starts, reaches and ends them."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cluster.local_cluster import DISCOVERY

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ENDED_WITHIN_S = 60


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Serve two nodes; yield the script's process and what it says to export."""
    command = [sys.executable, "cluster/local_cluster.py", "--nodes", "2"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            said = ""
            while "Ctrl-C ends everything" not in said:
                line = process.stdout.readline()
                assert line, f"it ended: {said}"
                said += line
            yield process, dict(re.findall(r"^export (\w+)=(.+)$", said, re.MULTILINE))
        finally:
            process.terminate()


def states(url: str, **headers: str) -> list[str]:
    """Ask the dashboard which state each node is in."""
    request = urllib.request.Request(f"{url}/nodes?view=summary", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        nodes = json.load(answer)["data"]["summary"]
    return [node["raylet"]["state"] for node in nodes]


def listening(processes: list[psutil.Process]) -> set[str]:
    """Return the addresses that processes listen on."""
    found: set[str] = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # some live shortly
            opened = process.net_connections(kind="tcp")
            found |= {each.laddr.ip for each in opened if each.status == psutil.CONN_LISTEN}
    return found


def test_two_nodes_serve_who_has_the_token_on_this_machine_alone_and_end_with_the_script():
    with serving() as (script, exports):
        url, token = exports["RAY_API_SERVER_ADDRESS"], Path(exports["RAY_AUTH_TOKEN_PATH"])
        with pytest.raises(urllib.error.HTTPError, match="401"):
            states(url)
        assert states(url, Authorization=f"Bearer {token.read_text()}") == ["ALIVE", "ALIVE"]

        nodes = psutil.Process(script.pid).children(recursive=True)
        assert [process.name() for process in nodes].count("raylet") == 2
        addresses = {address.removeprefix("::ffff:") for address in listening(nodes)}
        assert addresses == {"127.0.0.1"}
        (metrics,) = json.loads(token.with_name(DISCOVERY).read_text())
        assert {target.rpartition(":")[0] for target in metrics["targets"]} == {"127.0.0.1"}

        # As Ctrl-C does, which is ignored by what a shell has started in its background.
        script.terminate()
        assert script.wait(ENDED_WITHIN_S) == 0
        _, alive = psutil.wait_procs(nodes, ENDED_WITHIN_S)
        assert alive == []
        assert not token.parent.exists()
