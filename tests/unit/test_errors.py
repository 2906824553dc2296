"""How a program ends that cannot go on."""

import pytest

from selfseg.errors import UsageError, UserError, ends_in_a_line


@pytest.mark.parametrize(("kind", "status"), [(UserError, 1), (UsageError, 2)])
def test_a_mistake_is_a_line_that_names_the_program_and_a_status(capsys, kind, status):
    with pytest.raises(SystemExit) as ended, ends_in_a_line("selfseg"):
        raise kind("run: not there")
    assert ended.value.code == status
    assert capsys.readouterr().err == "selfseg: run: not there\n"


@pytest.mark.parametrize(("interrupted", "told"), [(None, ""), ("goes on", "goes on\n")])
def test_after_an_interrupt_the_status_is_the_shells(capsys, interrupted, told):
    with pytest.raises(SystemExit) as ended, ends_in_a_line("x", interrupted=interrupted):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == told


def test_any_other_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), ends_in_a_line("selfseg"):
        raise ZeroDivisionError
