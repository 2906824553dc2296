"""What runs scored, folded over seeds: runs that differ in nothing else are one experiment."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from selfseg import storage
from selfseg.config import dotted
from selfseg.data.format.manifest import load_manifest
from selfseg.data.reading.subsets import chosen_videos
from selfseg.errors import UsageError, UserError
from selfseg.reporting.collect import read_facts
from selfseg.training.checkpoint import read_course

OPTIONS = ("view", "round", "augment", "crf", "gaps")
"""What an evaluation may choose anew for the same run; options of the command by these names."""

Situation = tuple[tuple[str, Any], ...]
"""What an evaluation chose for each of OPTIONS; None or False: off, or left open."""


INCIDENTAL = {
    "loop.threads",
    "loop.checkpoint_every",
    "loop.keep_checkpoints",
    "data.loader_processes",
}
"""Settings that say how a run was computed, not what was learned."""

CHOSEN_VIDEOS = {"data.videos", "data.fraction_seed"}
"""Settings that say which of a collection's videos are read, and not how many."""


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """One run and its scores.

    facts: its settings by dotted path; `collection.videos` where that was asked for
    collection: URL of what it learned from
    manifest: identity of it
    scores: by situation and benchmark, the record
    """

    url: str
    seed: int
    facts: Mapping[str, Any]
    collection: str
    manifest: str
    scores: Mapping[Situation, Mapping[str, Mapping[str, Any]]]

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rstrip("/").rpartition("/")[2]

    def score(self, situation: Situation, benchmarks: Sequence[str], measure: str) -> float | None:
        """Return a mean over benchmarks, by the number of their frames; None if one is missing."""
        found = [self.scores.get(situation, {}).get(name, {}) for name in benchmarks]
        if not all(measure in record for record in found):
            return None
        if len(found) == 1:
            return float(found[0][measure])
        frames = sum(record["frames"] for record in found)
        return sum(record[measure] * record["frames"] for record in found) / frames


@dataclass(frozen=True, slots=True)
class Experiment:
    """Runs of equal settings, a seed each."""

    runs: tuple[ScoredRun, ...]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is true of all its runs."""
        return self.runs[0].facts

    def situations(self, measure: str) -> list[Situation]:
        """Return all that its runs were measured in, in order of appearance."""
        return list(
            dict.fromkeys(
                chosen
                for run in self.runs
                for chosen, scores in run.scores.items()
                if any(measure in record for record in scores.values())
            )
        )


def read_run(url: str, *, count_videos: bool) -> ScoredRun:
    """Read a run's settings and scores; count_videos: read the manifest of its collection, too.

    Raises:
        UserError: there is no run, a score cannot be read, or the collection is out of reach.
    """
    told = read_facts(url)
    facts = dict(dotted(told["settings"])) | dict(dotted(told["ingest"], "ingest."))
    moves = [entry["manifest"] for entry in read_course(url) if "manifest" in entry]
    newest = moves[-1] if moves else told["manifest"]
    if count_videos:
        manifest = load_manifest(told["collection"], newest)
        read = chosen_videos(
            manifest,
            facts.get("data.videos"),
            fraction=[facts.get("data.fraction", 1.0), *facts.get("data.growth", ())][-1],
            seed=facts.get("data.fraction_seed", 0),
        )
        facts["collection.videos"] = len(read)
    return ScoredRun(
        url=url,
        seed=facts.pop("seed"),
        facts=facts,
        collection=told["collection"],
        manifest=newest,
        scores=_read_scores(storage.join(url, "evaluations")),
    )


def fold(runs: Sequence[ScoredRun], *, over_collections: bool) -> list[Experiment]:
    """Put runs together that differ only in their seed, and in how they were computed.

    Args:
        runs: in the order their experiments are wanted in.
        over_collections: runs may differ in what they learned from as well.

    Raises:
        UsageError: two runs do not even differ in that.
    """
    groups: dict[str, list[ScoredRun]] = {}
    incidental = INCIDENTAL | CHOSEN_VIDEOS if over_collections else INCIDENTAL
    for run in runs:
        manifest = None if over_collections else run.manifest
        essence = _essence(run.facts, incidental)
        same = groups.setdefault(json.dumps([essence, manifest], sort_keys=True), [])
        for other in same:
            if (other.seed, other.manifest) == (run.seed, run.manifest):
                raise UsageError(
                    f"{other.url} and {run.url}: the same experiment with the same seed, "
                    f"{run.seed}: name only one of them"
                )
        same.append(run)
    return [Experiment(tuple(group)) for group in groups.values()]


def _essence(facts: Mapping[str, Any], incidental: Set[str]) -> dict[str, Any]:
    """Keep what an experiment is; each seed may start from a run of its own."""
    return {
        name: bool(value) if name.startswith("start.") else value
        for name, value in facts.items()
        if name not in incidental
    }


def situation(chosen: Mapping[str, Any]) -> Situation:
    """Say what an evaluation chose; what it does not name is left open."""
    values = ((option, chosen.get(option)) for option in OPTIONS)
    return tuple(
        (option, tuple(value) if isinstance(value, list) else value) for option, value in values
    )


def _read_scores(url: str) -> dict[Situation, dict[str, Mapping[str, Any]]]:
    found: dict[Situation, dict[str, Mapping[str, Any]]] = {}
    for name in storage.listing(url):
        record = _read_record(storage.join(url, name))
        if record["baseline"] is None:
            scored = found.setdefault(situation(record), {})
            other = scored.get(record["benchmark"], record)
            scored[record["benchmark"]] = _later(other, record, url)
    return found


def _read_record(url: str) -> dict[str, Any]:
    try:
        record = json.loads(storage.read(url))
        if not {"title", "baseline", "benchmark", "checkpoint"} <= set(record):
            raise ValueError
    except (ValueError, TypeError):
        raise UserError(f"{url}: not a score: delete it and evaluate again") from None
    return record


def _later(one: Mapping[str, Any], other: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    """Return the score of the later checkpoint; one scored twice must have scored the same."""
    # Names of checkpoints sort by their steps.
    first, second = sorted((one, other), key=lambda record: record["checkpoint"])
    if first["checkpoint"] == second["checkpoint"] and _means(first) != _means(second):
        raise UserError(
            f"{url}: {one['title']} and {other['title']} on {one['benchmark']} score the same "
            "checkpoint differently: delete one of the files"
        )
    return second


def _means(record: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in record.items() if key.endswith("_mean")}
