"""Ask the cluster for what a run needs, and wait until it is there.

python cluster/await_nodes.py 4 --gpus && selfseg train RECIPE --workers 4 ...

A cluster that grows on demand has few nodes, or none, when a job begins, and `selfseg train` would
say so and end. Where nothing grows, this waits for nodes that are about to join.
"""

import argparse
import sys
import time
from collections.abc import Mapping

LOOK_S = 2
TELL_S = 30


def lacking(have: Mapping[str, float], want: Mapping[str, int]) -> str:
    """Name what the cluster has too little of; nothing: "".

    Args:
        have: its resources.
        want: those that the run needs.
    """
    short = [
        f"{have.get(kind, 0):.0f} of {count} {kind}s"
        for kind, count in want.items()
        if have.get(kind, 0) < count
    ]
    return ", ".join(short)


def await_nodes(workers: int, *, gpus: bool, within_s: float) -> None:
    """Return when each worker can have its CPU, and its GPU.

    Raises:
        SystemExit: it took too long; says what is lacking.
    """
    import ray  # noqa: PLC0415 - --help need not wait for it
    from ray.autoscaler.sdk import request_resources  # noqa: PLC0415

    each = {"CPU": 1, **({"GPU": 1} if gpus else {})}
    want = {kind: count * workers for kind, count in each.items()}
    ray.init(log_to_driver=False)
    began = told = time.monotonic()
    request_resources(bundles=[each] * workers)
    try:
        while short := lacking(ray.cluster_resources(), want):
            now = time.monotonic()
            if now - began > within_s:
                sys.exit(f"the cluster has {short} after {within_s:.0f} s: see `ray status`")
            if now - told > TELL_S:
                told = now
                print(f"waiting for nodes: {short}", flush=True)
            time.sleep(LOOK_S)
    finally:
        # The workers hold the nodes from here on; the request would hold them after the run.
        request_resources(bundles=[])
        ray.shutdown()


def main() -> None:
    """Wait for what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workers", type=int, help="processes that will train")
    parser.add_argument("--gpus", action="store_true", help="a GPU for each")
    parser.add_argument("--within", type=float, default=30, metavar="MINUTES", help="(default: 30)")
    arguments = parser.parse_args()
    await_nodes(arguments.workers, gpus=arguments.gpus, within_s=arguments.within * 60)


if __name__ == "__main__":
    main()
