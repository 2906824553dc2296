"""The page as HTML: one file that holds everything it shows."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfseg.reporting import wording
from selfseg.reporting.glossary import VIEWS
from selfseg.reporting.page import Page
from selfseg.reporting.rounds import round_name


def render(page: Page) -> str:
    """Fill the template; whatever comes from the run is escaped."""
    return environment().get_template("report.html").render(page=page, views=VIEWS)


def environment() -> Environment:
    """Return what fills templates, with the words that they share."""
    found = Environment(
        loader=PackageLoader("selfseg.reporting", "."),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "count": wording.count,
        "percent": wording.percent,
        "round_name": round_name,
        "score": wording.score,
        "seconds": lambda value: f"{wording.figure(value)} s",
    }
    return found
