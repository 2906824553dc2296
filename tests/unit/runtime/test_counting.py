import io

from rich.console import Console

from selfseg.runtime import counting


def shown(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with counting.bar(console, "frames", 100) as show:
        for done in (10, 50, 100):
            show(done)
    return out.getvalue()


def test_a_terminal_sees_a_bar_that_ends_full():
    assert "100/100" in shown(terminal=True)


def test_a_log_gets_a_line_now_and_then_and_no_bar(monkeypatch):
    assert shown(terminal=False) == ""
    monkeypatch.setattr(counting, "PLAIN_S", 0)
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("frames 10/100")
    assert "frames/s" in lines[1]
    assert lines[2].endswith("0:00 left")
