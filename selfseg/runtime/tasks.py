"""Many calls of one function on the cluster, so many at a time."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import ray
from ray.exceptions import RayTaskError, WorkerCrashedError

from selfseg.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 4
"""Processes that may die on one item."""

LOOK_S = 0.25
"""Time between two calls of `meanwhile`."""


def each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    at_once: int,
    gpus: float = 0,
    meanwhile: Callable[[], None] = lambda: None,
    crashed: Callable[[Item], Result] | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Call `function` on every item, one CPU each; yield items and results as they come.

    A call whose machine is lost, or whose process dies, is repeated until `TRIES` have.

    Args:
        function: runs in another process; it and the items must pickle.
        items: what to call it with.
        at_once: calls under way at the same time.
        gpus: that all these calls share; none of them runs where there is no GPU.
        meanwhile: called now and then while waiting.
        crashed: what to give for an item on which every process died; None: that is an error.

    Raises:
        UserError: the first that a call raised.
    """

    # Asked for a GPU, Ray would start a process for every call: 0 keeps them, as without.
    # A caller that is in a placement group has no room there for others.
    @ray.remote(
        num_cpus=1,
        num_gpus=share_of_each(gpus, at_once),
        max_calls=0,
        max_retries=TRIES - 1,
        scheduling_strategy="DEFAULT",
    )
    def call(item: Item) -> Result:
        return function(item)

    waiting = iter(items)
    under_way: dict[ray.ObjectRef, Item] = {}
    while True:
        while len(under_way) < at_once and (item := next(waiting, None)) is not None:
            under_way[call.remote(item)] = item
        if not under_way:
            return
        done, _ = ray.wait(list(under_way), timeout=LOOK_S)
        meanwhile()
        for reference in done:
            item = under_way.pop(reference)
            yield item, _result(reference, item, crashed)


def share_of_each(gpus: float, at_once: int) -> float:
    """Return what each of so many calls may ask for, at most one GPU, in Ray's unit of 1e-4."""
    return min(1.0, math.floor(1e4 * gpus / at_once) / 1e4)


def _result(
    reference: "ray.ObjectRef[Result]", item: Item, crashed: Callable[[Item], Result] | None
) -> Result:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except WorkerCrashedError:
        if crashed is None:
            raise
        return crashed(item)
