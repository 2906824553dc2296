"""How the report says numbers: three significant digits, thousands apart, units that fit."""

import math


def minus(text: str) -> str:
    """Replace hyphens by minus signs, as long as a plus is wide."""
    return text.replace("-", "\N{MINUS SIGN}")


def figure(value: float) -> str:
    """Write a measured number with three significant digits: 0.523, 12.3, 1,230, 4.1e-05."""
    if not math.isfinite(value):
        return "not finite"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    text = f"{value:.1e}" if magnitude < -4 else f"{value:,.{max(0, 2 - magnitude)}f}"
    return minus(text)


def score(value: float) -> str:
    """Write a score of [0, 1] with three decimals."""
    return f"{value:.3f}"


def count(value: int) -> str:
    """Write a whole number with its thousands apart."""
    return f"{value:,}"


def plural(number: int, noun: str) -> str:
    """Count things: one video, 12 videos."""
    return f"one {noun}" if number == 1 else f"{count(number)} {noun}s"


def percent(share: float) -> str:
    """Write a share of [0, 1] in percent; below ten with one decimal."""
    value = 100 * share
    return f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


def duration(seconds: float) -> str:
    """Write a time in its two largest units: 48 s, 3 min 12 s, 2 h 05 min, 3 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{figure(seconds) if seconds < 10 else whole} s"
    minutes, spare_s = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {spare_s:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def setting(value: object) -> str:
    """Write a setting as its TOML file would, lists and switches included."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "none"
        case list() | tuple():
            return ", ".join(setting(item) for item in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
