"""One self-contained HTML file about a run, written into the run's folder."""

from selfseg import storage
from selfseg.reporting.collect import read_run
from selfseg.reporting.gallery import hang
from selfseg.reporting.page import compose
from selfseg.reporting.render import render

REPORT = "report.html"


def write_report(run_url: str) -> str:
    """Write the report of a run, finished or not; return its URL.

    What is missing (a collection out of reach, no checkpoint or no score yet) is named on the
    page and does not keep it from being written.

    Raises:
        UserError: there is no run at `run_url`, or the report cannot be written there.
    """
    run = read_run(run_url)
    page = compose(run, hang(run.url, run.collection, run.manifest))
    url = storage.join(run_url, REPORT)
    storage.write(url, render(page).encode())
    return url
