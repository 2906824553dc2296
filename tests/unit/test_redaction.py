"""What is a secret is struck out, and nothing else."""

import pytest

from selfseg.errors import UserError
from selfseg.redaction import redacted


@pytest.mark.parametrize(
    ("name", "struck"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_SESSION_TOKEN", True),
        ("RAY_AUTH_TOKEN", True),
        ("WANDB_API_KEY", True),
        ("DATABASE_PASSWORD", True),
        ("AWS_ACCESS_KEY_ID", False),  # it is a name; errors say whose rights are missing
        ("PYTHONPATH", False),
    ],
)
def test_values_of_variables_that_hold_secrets_are_struck_out(monkeypatch, name, struck):
    monkeypatch.setenv(name, "hunter2hunter2")
    line = redacted("curl says hunter2hunter2 is wrong")
    assert line == f"curl says {'***' if struck else 'hunter2hunter2'} is wrong"


def test_a_path_to_a_secret_and_a_short_value_are_none(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/me/token")
    monkeypatch.setenv("SOME_TOKEN", "on")
    assert redacted("/home/me/token: turn on") == "/home/me/token: turn on"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("https://me:pass@host/w.pt: gone", "https://***@host/w.pt: gone"),
        (
            "https://b.s3.amazonaws.com/w.pt?X-Amz-Credential=AKIA%2F1&X-Amz-Date=5"
            "&X-Amz-Signature=0a1b gone",
            "https://b.s3.amazonaws.com/w.pt?X-Amz-Credential=***&X-Amz-Date=5"
            "&X-Amz-Signature=*** gone",
        ),
        ("https://host/w?sig=abc%2B&se=2026 x", "https://host/w?sig=***&se=2026 x"),
        ("WANDB_API_KEY=0123456789abcdef selfseg train", "WANDB_API_KEY=*** selfseg train"),
        ("s3://key:secret@bucket/w.pt: gone", "s3://***@bucket/w.pt: gone"),
        ("s3://bucket@0a1b2c3d: too short", "s3://bucket@0a1b2c3d: too short"),
        ("--set loop.steps=100000000", "--set loop.steps=100000000"),
        ("set RAY_AUTH_MODE=token and AWS_REGION", "set RAY_AUTH_MODE=token and AWS_REGION"),
    ],
)
def test_credentials_within_a_text_are_struck_out(text, line):
    assert redacted(text) == line


def test_a_mistake_of_the_users_never_shows_a_secret(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "hunter2hunter2")
    assert str(UserError("login with hunter2hunter2 failed")) == "login with *** failed"
