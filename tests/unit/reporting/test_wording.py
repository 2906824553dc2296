import pytest

from selfseg.reporting import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5234, "0.523"), (12.34, "12.3"), (1234.5, "1,234"), (0.0, "0"), (4.06e-7, "4.1e\u221207")],
)
def test_a_figure_has_three_significant_digits(value, text):
    assert wording.figure(value) == text


def test_a_negative_figure_carries_a_minus_sign_not_a_hyphen():
    assert wording.figure(-1.5) == "\u22121.50"


def test_a_figure_that_is_not_finite_says_so():
    assert wording.figure(float("nan")) == "not finite"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "0.500 s"),
        (48, "48 s"),
        (3 * 60 + 12, "3 min 12 s"),
        (2 * 3600 + 5 * 60, "2 h 05 min"),
        ((3 * 24 + 4) * 3600, "3 d 4 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds, text):
    assert wording.duration(seconds) == text


def test_a_small_share_keeps_a_decimal():
    assert (wording.percent(0.0123), wording.percent(0.62)) == ("1.2 %", "62 %")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "none"), ([1, 2], "1, 2"), (1e-4, "0.0001"), ("dis", "dis")],
)
def test_a_setting_reads_as_in_its_file(value, text):
    assert wording.setting(value) == text
