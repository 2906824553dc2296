"""A paper model of training on up to 1,024 GPUs, from measured parts: docs/scaling.md's tables.

    python -m tools.scaling_model

Weak scaling: each GPU has a batch of its own. What the parts are, and where each was measured or
taken from, is said beside it; docs/scaling.md says what follows.
"""

from dataclasses import dataclass
from math import ceil, log, log2, sqrt

from selfseg.training.goodput import best_interval_s, expected_share
from selfseg.training.watchdog import BEAT_S

GPUS = (1, 8, 64, 256, 1024)
DAY_S = 86400.0
FLOAT_BYTES = 4
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a step of a recipe is; a GPU is an H100.

    step_s: computing, on one GPU; from the recipe's header
    batch: samples of a GPU's step
    moving: weights of the largest player, whose gradients a step exchanges
    stored: numbers in a checkpoint: all weights, and two of the optimiser's for each that moves
    """

    name: str
    step_s: float
    batch: int
    moving: float
    stored: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What everything is made of.

    gpus_per_node, link_bytes_s, network_bytes_s, latency_s: of a node with eight H100, and of its
        network: one direction; of one message
    bucket_bytes: gradients that DDP exchanges at a time
    backward_share: of a step, in which the exchange can hide: two thirds, as a backward pass costs
        two forward passes
    deviation: of a step's duration from GPU to GPU, as a share; assumed
    sample_bytes: stored frames, and flow to three neighbours each way; DAVIS 2016, ingested with
        the defaults: 332.5 MB of 2,079 frames
    part_bytes: of a ranged GET
    store_share: of a node's network that shards may take
    store_stream_bytes_s: of one GET or PUT
    store_gets_s, store_puts_s: that S3 promises under one prefix, at first
    polls_s, poll_s: how often Ray Train's controller asks each worker whether it lives, and what
        an answer costs it: twice an empty one's 100 us (`make bench-runtime`), as it has a status
    journal_s: time between two segments of a worker's journal
    copy_bytes_s: of a checkpoint from GPU to memory, for which training waits; assumed
    replace_s: until the workers of a lost node run elsewhere; the node's replacement is booted
    node_mtbf_s: of one node; 419 interruptions of 2,048 nodes in 54 days, see docs/scaling.md
    spot_mtbf_s: of one that is rented until somebody offers more; assumed
    """

    gpus_per_node: int = 8
    link_bytes_s: float = 300e9
    network_bytes_s: float = 50e9
    latency_s: float = 15e-6
    bucket_bytes: float = 25 * MIB
    backward_share: float = 2 / 3
    deviation: float = 0.02
    sample_bytes: float = 332.5e6 / 2079
    part_bytes: float = 8 * MIB
    store_share: float = 0.5
    store_stream_bytes_s: float = 90e6
    store_gets_s: float = 5500
    store_puts_s: float = 3500
    polls_s: float = 2
    poll_s: float = 200e-6
    journal_s: float = 20
    copy_bytes_s: float = 5e9
    replace_s: float = 180
    node_mtbf_s: float = 54 * DAY_S * 2048 / 419
    spot_mtbf_s: float = DAY_S


DYSTAB = Recipe("dystab_dynamic", 0.131, 16, 39.6e6, 3 * 44.2e6)
PROPOSAL = Recipe("proposal", 0.072, 16, 83.4e6, 99.9e6 + 2 * 99.2e6)
RECIPES = (DYSTAB, PROPOSAL)


@dataclass(frozen=True, slots=True)
class Scaled:
    """A recipe on some GPUs.

    step_s: with all that a step waits for, once shards are in the nodes' caches
    exchange_s: of gradients, hidden or not
    cold_bytes_s: that a node downloads in the first epoch if that is to be as fast as the others
    interval_s: between checkpoints, the best for `node_mtbf_s`
    goodput, spot_goodput: productive share of the time, on nodes of one's own and on spot nodes
    strain: share of its capacity that is used of each part that could end the scaling
    """

    gpus: int
    step_s: float
    exchange_s: float
    efficiency: float
    samples_s: float
    cold_bytes_s: float
    cold_gets_s: float
    interval_s: float
    goodput: float
    spot_goodput: float
    strain: dict[str, float]

    @property
    def weakest(self) -> str:
        """Name the part that has least left."""
        return max(self.strain, key=lambda part: self.strain[part])


def exchange_s(recipe: Recipe, gpus: int, parts: Parts) -> float:
    """Return how long averaging a step's gradients takes: within nodes, between them, latency.

    A ring sends 2 (n - 1) / n of the bytes; NCCL's trees pass log2(n) messages each way.
    """
    if gpus == 1:
        return 0.0
    size = FLOAT_BYTES * recipe.moving
    nodes, inside = ceil(gpus / parts.gpus_per_node), min(gpus, parts.gpus_per_node)
    within = 2 * (inside - 1) / inside * size / parts.link_bytes_s
    between = 2 * (nodes - 1) / nodes * size / parts.network_bytes_s
    return within + between + _buckets(recipe, parts) * 2 * log2(gpus) * parts.latency_s


def step_s(recipe: Recipe, gpus: int, parts: Parts) -> float:
    """Return how long a step takes: computing, what is not hidden, and waiting for the slowest.

    The last bucket is ready when the backward pass ends, so that it is never hidden; the finite
    check is one more message. The slowest of n like steps is late by sqrt(2 ln n) deviations.
    """
    exchange = exchange_s(recipe, gpus, parts)
    last = exchange / _buckets(recipe, parts)
    hidden = min(exchange - last, parts.backward_share * recipe.step_s)
    check = 2 * log2(gpus) * parts.latency_s
    slowest = parts.deviation * recipe.step_s * sqrt(2 * log(gpus))
    return recipe.step_s + exchange - hidden + check + slowest


def scaled(recipe: Recipe, gpus: int, parts: Parts | None = None) -> Scaled:
    """Work out a recipe on some GPUs."""
    parts = parts or Parts()
    step, exchange = step_s(recipe, gpus, parts), exchange_s(recipe, gpus, parts)
    nodes = ceil(gpus / parts.gpus_per_node)
    samples_s = recipe.batch * gpus / step
    # A batch is drawn from everywhere, so every node comes to read every shard.
    cold_bytes_s = samples_s * parts.sample_bytes
    cold_gets_s = nodes * cold_bytes_s / parts.part_bytes
    saved = FLOAT_BYTES * recipe.stored
    interval = best_interval_s(parts.node_mtbf_s / nodes, saved / parts.copy_bytes_s)
    write_s = saved / parts.store_stream_bytes_s
    return Scaled(
        gpus=gpus,
        step_s=step,
        exchange_s=exchange,
        efficiency=recipe.step_s / step,
        samples_s=samples_s,
        cold_bytes_s=cold_bytes_s,
        cold_gets_s=cold_gets_s,
        interval_s=max(interval, write_s),
        goodput=_goodput(recipe, parts.node_mtbf_s / nodes, parts),
        spot_goodput=_goodput(recipe, parts.spot_mtbf_s / nodes, parts),
        strain={
            "gradients": exchange / (parts.backward_share * recipe.step_s),
            "first epoch, bytes": cold_bytes_s / (parts.store_share * parts.network_bytes_s),
            "first epoch, requests": cold_gets_s / parts.store_gets_s,
            "controller": gpus * parts.polls_s * parts.poll_s,
            "board": gpus / BEAT_S * parts.poll_s,
            "journal": gpus / parts.journal_s / parts.store_puts_s,
            "checkpoint": write_s / max(interval, write_s),
        },
    )


def tables() -> str:
    """Return a table for each recipe, as Markdown."""
    return "\n".join(f"`{recipe.name}`\n\n{_table(recipe)}" for recipe in RECIPES)


def _buckets(recipe: Recipe, parts: Parts) -> int:
    return ceil(FLOAT_BYTES * recipe.moving / parts.bucket_bytes)


def _goodput(recipe: Recipe, mtbf_s: float, parts: Parts) -> float:
    """Return the expected share with checkpoints as often as is best, or as they can be written."""
    saved = FLOAT_BYTES * recipe.stored
    waits, written = saved / parts.copy_bytes_s, saved / parts.store_stream_bytes_s
    # Worker 0 verifies the checkpoint, then all read it: two downloads, one after the other.
    recovery = parts.replace_s + 2 * written
    return expected_share(mtbf_s, waits, max(best_interval_s(mtbf_s, waits), written), recovery)


def _table(recipe: Recipe) -> str:
    rows = {
        "GPUs": lambda at: f"{at.gpus:,}",
        "step, ms": lambda at: f"{1000 * at.step_s:.0f}",
        "exchange of gradients, ms": lambda at: f"{1000 * at.exchange_s:.1f}",
        "efficiency": lambda at: f"{at.efficiency:.3f}",
        "samples/s": lambda at: f"{at.samples_s:,.0f}",
        "first epoch: GB/s a node": lambda at: f"{at.cold_bytes_s / 1e9:.3g}",
        "first epoch: GET/s in all": lambda at: f"{at.cold_gets_s:,.0f}",
        "checkpoint every, s": lambda at: f"{at.interval_s:,.0f}",
        "goodput": lambda at: f"{at.goodput:.4f}",
        "goodput, spot": lambda at: f"{at.spot_goodput:.3f}",
        **{
            f"strain: {part}": lambda at, part=part: f"{at.strain[part]:.2g}"
            for part in scaled(recipe, 1).strain
        },
        "weakest link": lambda at: at.weakest,
    }
    columns = [scaled(recipe, gpus) for gpus in GPUS]
    lines = [[name, *(write(at) for at in columns)] for name, write in rows.items()]
    lines.insert(1, ["---", *["---:"] * len(GPUS)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    print(tables(), end="")
