"""What a sweep found about collections that grow: score, cost and forgetting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from selfseg.reporting import wording
from selfseg.reporting.sweep_curves import Curve, Spot, draw, mean_text
from selfseg.sweep.growing import Moment

VIDEOS = "videos seen"
MINUTES = "minutes of training until then"

Mean = Callable[[Moment], float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One way to learn at one size of the collection; a mean over seeds that is missing is ""."""

    learning: str
    videos: int
    runs: int
    score: str
    time: str
    early: str
    forgotten: str
    newest: str


@dataclass(frozen=True, slots=True)
class Growing:
    """What the page shows.

    early: how many of the videos that were there first are scored, for each seed
    """

    rows: list[Row]
    curves: list[Curve]
    early: str


def growing(moments: Sequence[Moment]) -> Growing | None:
    """Put moments together over their seeds; None: there are none yet."""
    if not moments:
        return None
    groups: dict[str, dict[float, list[Moment]]] = {}
    for moment in moments:
        groups.setdefault(moment.learning, {}).setdefault(moment.share, []).append(moment)
    drawn = [
        _curve("Score", VIDEOS, groups, _videos, lambda moment: moment.score),
        _curve("Score against its cost", MINUTES, groups, _minutes, lambda moment: moment.score),
        _curve("Forgotten", VIDEOS, groups, _videos, lambda moment: moment.forgotten),
        _curve("Score on the newest videos", VIDEOS, groups, _videos, lambda moment: moment.newest),
    ]
    rows = [_row(found) for sizes in groups.values() for _, found in sorted(sizes.items())]
    early = {moment.seed: moment.num_early for moment in moments}
    counts = sorted(set(early.values()))
    return Growing(
        rows,
        [curve for curve in drawn if curve is not None],
        " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))),
    )


def _curve(
    title: str,
    axis: str,
    groups: Mapping[str, Mapping[float, Sequence[Moment]]],
    place: Callable[[Moment], float],
    value: Mean,
) -> Curve | None:
    lines = {
        learning: [
            Spot(f"{learning}, {_counted(found)}", fmean(map(place, found)), values)
            for found in sizes.values()
            if (values := _values(found, value))
        ]
        for learning, sizes in groups.items()
    }
    return draw(title, axis, lines)


def _row(found: Sequence[Moment]) -> Row:
    def mean(value: Mean) -> str:
        values = _values(found, value)
        return mean_text(values) if values else ""

    return Row(
        learning=found[0].learning,
        videos=found[0].videos,
        runs=len(found),
        score=mean(lambda moment: moment.score),
        time=wording.duration(fmean(moment.seconds for moment in found)),
        early=mean(lambda moment: moment.early),
        forgotten=mean(lambda moment: moment.forgotten),
        newest=mean(lambda moment: moment.newest),
    )


def _values(found: Sequence[Moment], value: Mean) -> list[float]:
    return [known for moment in found if (known := value(moment)) is not None]


def _counted(found: Sequence[Moment]) -> str:
    return wording.plural(found[0].videos, "video")


def _videos(moment: Moment) -> float:
    return moment.videos


def _minutes(moment: Moment) -> float:
    return moment.seconds / 60
