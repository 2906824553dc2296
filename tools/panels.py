"""Small figures for benchmarks: panels of lines over named places, upwards in powers of ten."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Told apart by the colour-blind too (Okabe and Ito)."""

WIDTH, HEIGHT = 420, 320


@dataclass(frozen=True, slots=True)
class Panel:
    """What one panel shows.

    title: what is measured, with its unit
    places: along the x axis, at equal distances
    lines: a positive value for each place, by name
    """

    title: str
    places: Sequence[str]
    lines: Mapping[str, Sequence[float]]


def figure(title: str, panels: Sequence[Panel], *, columns: int = 2) -> str:
    """Draw panels, row by row, as SVG."""
    rows = math.ceil(len(panels) / columns)
    body = "".join(
        f'<g transform="translate({index % columns * WIDTH},{index // columns * HEIGHT})">'
        f"{''.join(_marks(panel))}</g>"
        for index, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img"><title>{title}</title>{body}</svg>\n'
    )


def _marks(panel: Panel) -> Iterator[str]:
    values = [value for line in panel.lines.values() for value in line]
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))

    def across(index: int) -> float:
        return 70 + 290 * index / max(1, len(panel.places) - 1)

    def up(value: float) -> float:
        return 270 - 200 * (math.log10(value) - low) / (high - low)

    yield f'<text x="50" y="24" font-weight="bold">{panel.title}</text>'
    for power in range(low, high + 1):
        y = up(10**power)
        yield f'<path d="M50 {y:.1f}h330" stroke="#ddd"/>'
        yield f'<text x="44" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>'
    for index, place in enumerate(panel.places):
        yield f'<text x="{across(index):.1f}" y="290" text-anchor="middle">{place}</text>'
    named = []
    for (name, line), colour in zip(panel.lines.items(), COLOURS, strict=False):
        points = " ".join(f"{across(i):.1f},{up(value):.1f}" for i, value in enumerate(line))
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        named.append(f'<tspan fill="{colour}">{name}</tspan>')
    yield f'<text x="50" y="44" xml:space="preserve">{"   ".join(named)}</text>'
