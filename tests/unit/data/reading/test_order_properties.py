"""The reading order's promises, for any collection and any setting that hypothesis thinks of."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfseg.data.reading.order import Order, Sample, Tail

WORLD_SIZES = (1, 2, 4, 8)
LOADER_PROCESSES = (0, 1, 2)

# Other programs may slow the machine: what takes how long is no property of the order.
unhurried = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Case:
    """A collection's counts of samples per shard, and settings of its order."""

    counts: tuple[int, ...]
    seed: int
    batch_size: int
    lanes: int
    block: int
    tail: Tail

    @property
    def samples(self) -> int:
        return sum(self.counts)

    @property
    def epoch_length(self) -> int:
        left_out = self.samples % self.batch_size if self.tail == "drop" else 0
        return self.samples - left_out

    def order(self) -> Order:
        """Return the order as a process finds it that has just started."""
        return Order(
            self.counts,
            seed=self.seed,
            batch_size=self.batch_size,
            lanes=self.lanes,
            block=self.block,
            tail=self.tail,
        )

    def read(self, steps: int) -> list[tuple[Sample, ...]]:
        order = self.order()
        return [order.batch(step) for step in range(steps)]

    def steps_of(self, epochs: int) -> int:
        """Return how many batches it takes to hold whole epochs."""
        return -(-epochs * self.epoch_length // self.batch_size)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw collections, some with empty shards, and batches that 8 workers can share."""
    counts = draw(st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any))
    batch_size = 8 * draw(st.integers(1, 3))
    tails = ["carry", "drop"] if sum(counts) >= batch_size else ["carry"]
    return Case(
        counts=tuple(counts),
        seed=draw(st.integers(0, 2**31)),
        batch_size=batch_size,
        lanes=draw(st.integers(1, 12)),
        block=draw(st.integers(1, 50)),
        tail=draw(st.sampled_from(tails)),  # pyright: ignore[reportArgumentType] # of `Tail`
    )


@unhurried
@given(cases())
def test_an_epoch_is_a_permutation_of_all_samples_but_for_a_tail_that_is_dropped(case):
    stream = [sample for batch in case.read(case.steps_of(3)) for sample in batch]
    for epoch in range(3):
        read = stream[epoch * case.epoch_length : (epoch + 1) * case.epoch_length]
        assert {sample.epoch for sample in read} == {epoch}
        times = Counter(sample.ordinal for sample in read)
        assert set(times.values()) == {1}
        assert times.keys() <= set(range(case.samples))
        assert len(times) == case.epoch_length
    if case.tail == "carry":
        assert case.epoch_length == case.samples


@unhurried
@given(cases())
def test_any_workers_and_loader_processes_read_the_same_global_batches(case):
    steps = max(3, case.steps_of(1))
    whole = case.read(steps)
    for world_size in WORLD_SIZES:
        for processes in LOADER_PROCESSES:
            assert read_by(case, steps, world_size, processes) == whole


def read_by(case: Case, steps: int, world_size: int, processes: int) -> list[tuple[Sample, ...]]:
    """Read as workers whose loader processes take the steps in turn and know of no others."""
    parts: dict[tuple[int, int], tuple[Sample, ...]] = {}
    share = max(1, processes)
    for rank in range(world_size):
        for process in range(share):
            order = case.order()
            for step in range(process, steps, share):
                parts[step, rank] = order.part(step, rank=rank, world_size=world_size)
    return [sum((parts[step, rank] for rank in range(world_size)), ()) for step in range(steps)]


@unhurried
@given(cases(), st.data())
def test_resuming_at_every_step_with_other_workers_goes_on_as_if_nothing_had_been(case, data):
    steps = max(3, case.steps_of(1))
    resumed = []
    for step in range(steps):
        world_size = data.draw(st.sampled_from(WORLD_SIZES))
        parts = [
            case.order().part(step, rank=rank, world_size=world_size) for rank in range(world_size)
        ]
        resumed.append(sum(parts, ()))
    assert resumed == case.read(steps)


@unhurried
@given(cases(), st.lists(st.integers(0, 200), max_size=8))
def test_what_was_read_before_does_not_matter(case, steps):
    wandering = case.order()
    for step in steps:
        assert wandering.batch(step) == case.order().batch(step)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("carry", "fbe2531eb8f94429"),
        ("drop", "f4c5dfe6d9b6e60f"),
    ],
)
def test_the_order_is_the_one_that_earlier_runs_read_in(tail, expected):
    # A run resumes in the order of the version that began it: whoever changes the order must
    # change what a checkpoint says of it, and then these.
    case = Case((1, 97, 3, 0, 250, 2), seed=3, batch_size=24, lanes=8, block=16, tail=tail)
    batches = case.read(case.steps_of(2))
    found = hashlib.sha256(json.dumps(batches).encode()).hexdigest()
    assert found[:16] == expected
