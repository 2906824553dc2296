"""The bar that predictions and scores are waited for with."""

import io

from rich.console import Console
from rich.progress import TextColumn

from selfseg.prediction.progress import bar


def test_a_file_stands_beside_its_bar_by_the_name_that_it_has():
    shown = io.StringIO()
    console = Console(file=shown, width=100, force_terminal=True)
    with bar(console, TextColumn("")) as progress:
        progress.add_task("clip[/b] [red]", total=1)
    assert "clip[/b] [red]" in shown.getvalue()
