"""Many calls of one function on the cluster, so many at a time."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import ray
from ray.exceptions import RayTaskError, WorkerCrashedError

from selfseg.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

LOOK_S = 0.25
"""Time between two calls of `meanwhile`."""


def each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    at_once: int,
    meanwhile: Callable[[], None] = lambda: None,
    crashed: Callable[[Item], Result] | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Call `function` on every item, one CPU each; yield items and results as they come.

    A call whose machine is lost, or whose process dies, is repeated a few times.

    Args:
        function: runs in another process; it and the items must pickle.
        items: what to call it with.
        at_once: calls under way at the same time.
        meanwhile: called now and then while waiting.
        crashed: what to give for an item on which every process died; None: that is an error.

    Raises:
        UserError: the first that a call raised.
    """

    @ray.remote(num_cpus=1)
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
