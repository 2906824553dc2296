"""What the runtime costs on this machine: losing workers, saving, working together.

    make bench-runtime                                  all of it, about twenty minutes
    make bench-runtime OPTIONS="--part weak --part checkpoint"

goodput     dystab_dynamic_cpu on a cluster of two nodes, saved every 10 s, one worker killed every
            60 s, for about five minutes: the ledger, and Daly's model beside it
recovery    the same, a worker and a node lost in turn: seconds until the next step
checkpoint  steps beside which a checkpoint is written and steps beside which none is, in turn;
            share of the time at the recipe's own interval
weak        one process and two, in turn every few steps, each with a thread and a batch of its
            own; and in two processes gradients averaged as selfseg does, after the backward pass
            and not at all, in turn as well: what of the exchange the backward pass hides
controller  what it costs one process to ask actors whether they live: for docs/scaling.md

Medians count. Prints each part as it comes, then a table beside the goals; writes OUTPUT.json.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

CALLS = 4000

T = TypeVar("T")


def controller() -> dict[str, float]:
    """Ask two actors many times; return the seconds each answer costs the one who asks."""
    import ray  # noqa: PLC0415 - reads the environment when imported

    from selfseg.runtime.cluster import connect  # noqa: PLC0415

    class Asked:
        @ray.method
        def answer(self) -> bool:
            return True

    connect(2)
    asked = [ray.remote(num_cpus=0)(Asked).remote() for _ in range(2)]
    ray.get([each.answer.remote() for each in asked])
    used = time.process_time()
    ray.get([each.answer.remote() for _ in range(CALLS // 2) for each in asked])
    cost = time.process_time() - used
    ray.shutdown()
    return {"poll_s": cost / CALLS}


def alone(part: Callable[[], T]) -> T:
    """Return what `part` does, in a process of its own, with a Ray of its own."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        os.environ.pop(name, None)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(part).result()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts that are asked for, in an order in which none disturbs another."""
    results: dict[str, Any] = {}

    def note(name: str, found: Any) -> None:
        results[name] = found
        print(json.dumps({name: found}, indent=2), flush=True)

    if {"recovery", "goodput"} & set(arguments.part):
        on_a_cluster(arguments, note)
    from tools.runtime_bench import saving, steps  # noqa: PLC0415 - they import Ray, see there

    if "weak" in arguments.part:
        note("weak", steps.weak_scaling(arguments.rounds))
    if "checkpoint" in arguments.part:
        note("checkpoint", saving.cost_of_checkpoints(arguments.windows))
    if "controller" in arguments.part:
        note("controller", alone(controller))
    return results


def on_a_cluster(arguments: argparse.Namespace, note: Callable[[str, Any], None]) -> None:
    """Measure what needs nodes; first of all, for Ray reads a cluster's token when imported."""
    from tools.fault_suite.bed import made  # noqa: PLC0415 - as above
    from tools.runtime_bench import losing  # noqa: PLC0415 - as above

    with made(losing.WORKERS, stored=False) as bed:
        if "recovery" in arguments.part:
            note("recovery", losing.recovery(bed, arguments.repetitions))
        if "goodput" in arguments.part:
            note("goodput", losing.goodput(bed))


def table(results: dict[str, Any]) -> str:
    """Set what was measured beside what is to be reached."""
    rows = []
    if found := results.get("goodput"):
        rows.append(
            (
                "goodput, a kill every 60 s, saved every 10 s",
                f"{found['goodput']:.3f} (model {found['expected']:.3f})",
                ">= 0.75",
            )
        )
    if found := results.get("recovery"):
        rows.append(
            ("recovery from a lost worker", f"{found['worker']['median_s']:.1f} s", "<= 15 s")
        )
        rows.append(("recovery from a lost node", f"{found['node']['median_s']:.1f} s", "<= 40 s"))
    for recipe, found in results.get("checkpoint", {}).items():
        rows.append((f"checkpoints, {recipe}", f"{100 * found['share_of_time']:.3f} %", "< 1 %"))
    for recipe, found in results.get("weak", {}).items():
        rows.append((f"two processes, {recipe}", f"{found['efficiency']:.3f}", ">= 0.9"))
        hidden = found["hidden_share"]
        shown = "lost in noise" if hidden is None else f"{100 * hidden:.0f} %"
        rows.append((f"exchange hidden, {recipe}", shown, "> 0"))
    if found := results.get("controller"):
        rows.append(("an answer costs the controller", f"{1e6 * found['poll_s']:.0f} us", ""))
    lines = [("", "measured", "to reach"), ("---", "---:", "---:"), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


PARTS = ("goodput", "recovery", "checkpoint", "weak", "controller")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, action="append", help="repeatable (default: all)")
    parser.add_argument(
        "--repetitions", type=int, default=5, help="losses of each kind (default: 5)"
    )
    parser.add_argument("--rounds", type=int, default=16, help="of turns of all ways (default: 16)")
    parser.add_argument(
        "--windows", type=int, default=9, help="checkpoints that count (default: 9)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench_runtime.json"), metavar="FILE.json"
    )
    arguments = parser.parse_args()
    arguments.part = arguments.part or PARTS
    return arguments


def main() -> None:
    """Measure, print, write."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.environ["OMP_NUM_THREADS"] = "1"
    results = measure(arguments)
    arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
