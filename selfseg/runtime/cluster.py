"""The cluster that work is handed to: a named one, or a Ray of this process's own."""

import logging
import os
import secrets
import socket

import ray
from ray._private import ray_constants
from ray.exceptions import AuthenticationError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from selfseg.errors import UserError

ANSWER_S = 10
"""How long a named cluster may take to accept a connection; Ray itself waits for minutes."""

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**27), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
"""Has glibc keep large blocks: optical flow asks for them again at once, and fresh pages cost a
tenth of its time. Read when a process starts, so it is for the workers."""


def connect(workers: int | None = None) -> None:
    """Join the cluster that RAY_ADDRESS names, or start a Ray that ends with this process.

    The embedded one listens on this machine alone, asks for a token that only this process and
    its workers know, and offers at least `workers` CPUs. Calling again changes nothing.

    Args:
        workers: processes that will work at the same time, one CPU each; None: one per CPU.

    Raises:
        UserError: nobody answers at RAY_ADDRESS, or the token is wrong.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address)
    else:
        _start(max(workers or 1, os.cpu_count() or 1))


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Return where to place an actor that nobody can do without who is on this node."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _join(address: str) -> None:
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdecimal():
            socket.create_connection((host, int(port)), ANSWER_S).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except AuthenticationError:
        raise UserError(
            f"RAY_ADDRESS {address}: the cluster refuses the token; set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        cause = str(error).partition("\n")[0]
        raise UserError(
            f"RAY_ADDRESS {address}: no cluster answers ({cause}); start it, set RAY_AUTH_TOKEN or "
            "RAY_AUTH_TOKEN_PATH to its own, or unset RAY_ADDRESS"
        ) from None


def _start(cpus: int) -> None:
    # Unless RAY_AUTH_MODE says otherwise, a Ray that is started here asks for a token. Ray reads
    # that variable when it is imported, so setting it now would come too late.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Opt in to the coming default, which Ray otherwise announces with a warning.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    _stay_on_this_machine()
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )


def _stay_on_this_machine() -> None:
    """Make Ray listen on 127.0.0.1; by default it does so only on macOS and Windows.

    There is no argument for it: `_node_ip_address="127.0.0.1"` is turned into the address that
    other machines see. The constant is for this process, the variable for those it starts.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
