"""A collection from one place to another, object by object, so that it can be gone on with.

What is there already, whole by its size, stays; the rest is verified on its way. A manifest follows
all it names, and LATEST comes last, so that whoever reads the copy meanwhile sees a whole state or
none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from selfseg import storage
from selfseg.data.format.holdings import (
    Holding,
    bring,
    holdings,
    manifest_holding,
    refuse_strangers,
    several_at_once,
)
from selfseg.data.format.manifest import (
    SHOWN_DIGITS,
    lineage,
    newest_id,
    point_to,
    resolve,
)
from selfseg.errors import UsageError


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What is to be done so that `target` holds a state of `source`, and all before it.

    state: id of that state
    expected: id of the newest state that the target holds now; None: none
    missing: shards, indexes and backgrounds that it lacks, or holds of another size
    manifests: those that it lacks or holds so, the oldest first
    """

    source: str
    target: str
    state: str
    expected: str | None
    missing: tuple[Holding, ...]
    manifests: tuple[Holding, ...]

    @property
    def size(self) -> int:
        """Bytes of the shards that are to be brought."""
        return sum(holding.size for holding in self.missing)


def plan_copy(source_url: str, target: str) -> CopyPlan:
    """See what the collection at `target` lacks of the state that `source_url` names.

    Raises:
        UsageError: the target holds another collection, a later state, or something else.
        UserError: there is no collection to copy, or its manifests are damaged.
        StorageError: the target cannot be written to.
    """
    source, state = resolve(source_url)
    states: list[str] = []
    named: dict[Holding, None] = {}
    for manifest_id, manifest in lineage(source, state):
        states.append(manifest_id)
        named.update(dict.fromkeys(holdings(manifest)))
    storage.probe(target)
    expected = newest_id(target)
    if expected is None:
        refuse_strangers(target)
    elif expected not in states:
        raise _another(source_url, target, state, expected)
    lacks = _lacking(source, target)
    return CopyPlan(
        source,
        target,
        state,
        expected,
        tuple(filter(lacks, named)),
        tuple(filter(lacks, map(manifest_holding, reversed(states)))),
    )


def carry_out(plan: CopyPlan, report: Callable[[int], None]) -> None:
    """Bring what is missing, and publish the state.

    Args:
        plan: what to do.
        report: told the bytes of shards brought so far, now and then.

    Raises:
        UserError: an object of the source is damaged or gone.
        UsageError: someone else published another state at the target in the meantime.
    """

    def work(holding: Holding) -> None:
        bring(holding, plan.source, plan.target)

    done = 0
    for holding, _ in several_at_once(work, plan.missing):
        done += holding.size
        report(done)
    for holding in plan.manifests:
        work(holding)
    if plan.expected != plan.state:
        _publish(plan)


def _lacking(source: str, target: str) -> Callable[[Holding], bool]:
    """Return what tells whether an object is missing at `target`, or cut off."""
    right, there = storage.sizes(source), storage.sizes(target)

    def lacks(holding: Holding) -> bool:
        size = there.get(holding.name)
        return size is None or size != (holding.size or right.get(holding.name, size))

    return lacks


def _publish(plan: CopyPlan) -> None:
    try:
        point_to(plan.target, plan.state, plan.expected)
    except storage.Conflict:
        raise UsageError(
            f"{plan.target}: another command wrote here meanwhile; see what it left and repeat"
        ) from None


def _another(source_url: str, target: str, state: str, expected: str) -> UsageError:
    """Say why a collection cannot take the place of the one that is there."""
    if state in (manifest_id for manifest_id, _ in lineage(target)):
        return UsageError(
            f"{target}: holds a later state ({expected[:SHOWN_DIGITS]}) than {source_url}, which "
            "it grew from; copy the other way, or choose another place"
        )
    return UsageError(
        f"{target}: holds another collection ({expected[:SHOWN_DIGITS]}), which {source_url} did "
        "not grow from; choose another place"
    )
