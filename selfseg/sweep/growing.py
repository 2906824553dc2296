"""Ways to learn while a collection grows: what each knew, and had cost, when more had arrived.

Two kinds of trials: one run that goes on learning as videos arrive (`data.growth`), and one for
each size of the collection, trained anew on all that is there (`data.fraction`). Whoever trains
anew has done so at every size before, so there the time adds up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from selfseg.data.format.manifest import Manifest, VideoEntry
from selfseg.data.reading.subsets import chosen_videos
from selfseg.sweep.plan import Trial
from selfseg.sweep.results import Result, table_of

ANEW = "from scratch"


@dataclass(frozen=True, slots=True)
class Moment:
    """What one way to learn came to, with one seed, when a share of the videos had arrived.

    videos: number of those that had
    score: on all of the scored part, [0, 1]
    seconds: of training until then
    early: mean score of the videos that were there first; None: none of them is scored
    num_early: of how many
    newest: mean score of the videos that arrived last; None: none of them is scored
    forgotten: by how much `early` was higher before any others had arrived; None: nothing had
        been learned before, or none is scored
    """

    learning: str
    seed: int
    share: float
    videos: int
    score: float
    seconds: float
    early: float | None
    num_early: int
    newest: float | None
    forgotten: float | None


@dataclass(frozen=True, slots=True)
class _Stop:
    share: float
    score: float
    seconds: float
    videos: Mapping[str, float]

    def scores_of(self, videos: Iterable[VideoEntry]) -> list[float]:
        """Return the scores of these; one goes by its name, or its id where several have that."""
        names = {name for video in videos for name in (video.name, video.id)}
        return [score for name, score in self.videos.items() if name in names]


def moments(
    trials: Sequence[Trial], results: Mapping[str, Result], manifest: Manifest
) -> list[Moment]:
    """Return what every way to learn came to with every seed, in the order of arrival.

    Args:
        trials: of a sweep that is `continual`.
        results: of trials, by name; only those that came to their end count.
        manifest: what all learned from.
    """
    ways: dict[tuple[str, int], list[tuple[Trial, Result | None]]] = {}
    for trial in trials:
        found = results.get(trial.name)
        finished = found if found and found.status == "finished" else None
        ways.setdefault((learning_of(trial), trial.seed), []).append((trial, finished))
    return [
        moment
        for (learning, seed), own in ways.items()
        for moment in _moments(learning, seed, own, manifest)
    ]


def learning_of(trial: Trial) -> str:
    """Say how a trial, or those beside it, learn while the collection grows."""
    data = trial.config.data
    if not data.growth:
        return ANEW
    if data.rehearsal is None:
        return "going on, all alike"
    return f"going on, rehearsal {data.rehearsal:g}"


def as_csv(found: Sequence[Moment]) -> str:
    """Write a row for each moment."""
    rows = [
        {name: "" if value is None else value for name, value in asdict(moment).items()}
        for moment in found
    ]
    return table_of(rows)


def _moments(
    learning: str, seed: int, own: Sequence[tuple[Trial, Result | None]], manifest: Manifest
) -> Iterator[Moment]:
    data = own[0][0].config.data
    goes_on = bool(data.growth)
    before: set[VideoEntry] = set()
    first: tuple[set[VideoEntry], float | None] | None = None
    for stop in _gone_on(*own[0]) if goes_on else _begun_anew(own):
        there = set(
            chosen_videos(manifest, data.videos, fraction=stop.share, seed=data.fraction_seed)
        )
        first = first or (there, _mean(stop.scores_of(there)))
        early = stop.scores_of(first[0])
        yield Moment(
            learning=learning,
            seed=seed,
            share=stop.share,
            videos=len(there),
            score=stop.score,
            seconds=stop.seconds,
            early=_mean(early),
            num_early=len(early),
            newest=_mean(stop.scores_of(there - before)),
            # Who begins anew has nothing to forget.
            forgotten=_loss(first[1], _mean(early)) if goes_on and before else None,
        )
        before = there


def _gone_on(trial: Trial, result: Result | None) -> Iterator[_Stop]:
    """Follow one run from round to round."""
    if result is None:
        return
    shares = dict(zip(trial.config.round_ends, trial.config.data.growth, strict=True))
    stops = {
        # Of rounds between which nothing arrived the last one counts.
        shares[record["round"]]: _Stop(
            shares[record["round"]], record[trial.measure.name], seconds, videos
        )
        for record, seconds, videos in zip(result.records, result.clock, result.videos, strict=True)
    }
    yield from stops.values()


def _begun_anew(own: Iterable[tuple[Trial, Result | None]]) -> Iterator[_Stop]:
    """Go from size to size, as far as the runs of all sizes so far are there."""
    seconds = 0.0
    for trial, result in sorted(own, key=lambda each: each[0].config.data.fraction):
        if result is None:
            return
        seconds += result.seconds
        yield _Stop(trial.config.data.fraction, result.score, seconds, result.videos[-1])


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _loss(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else before - now
