"""Secrets are struck out of whatever is printed or kept: messages, commands, notes."""

import os
import re

STRUCK = "***"

NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)
"""Variables and parameters whose values are secrets, by their names."""

SHORTEST = 8
"""Characters of a value that is looked for; shorter ones may be part of any word."""

_USER = re.compile(r"(https?://|s3://(?=[^/\s@?#]*:))[^/\s@?#]+@", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&](?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|sig|"
    r"[\w-]*(?:token|secret|password|key)[\w-]*)=)[^&\s\"'#;)]+",
    re.IGNORECASE,
)
_ASSIGNMENT = re.compile(
    rf"\b(\w*(?:{NAME.pattern})\w*=)(?![*/])[^\s\"';,)]{{{SHORTEST},}}", re.IGNORECASE
)


def redacted(text: str) -> str:
    """Return `text` without secrets.

    Struck out are the values of this process's variables of such names, what stands before the
    @ of a URL, signatures and keys in its query, and what is assigned to such a name.
    """
    for value in _secret_values():
        text = text.replace(value, STRUCK)
    text = _USER.sub(rf"\1{STRUCK}@", text)
    text = _PARAMETER.sub(rf"\1{STRUCK}", text)
    return _ASSIGNMENT.sub(rf"\1{STRUCK}", text)


def lets_in(url: str) -> bool:
    """Tell whether a URL has credentials or a signature in it, so that whoever reads it may use it.

    >>> lets_in("https://me:pass@host/w.pt"), lets_in("s3://bucket/w.pt")
    (True, False)
    """
    return bool(_USER.search(url) or _PARAMETER.search(url))


def _secret_values() -> list[str]:
    """Return what must not appear, the longest first: one may be part of another."""
    found = {
        value
        for name, value in os.environ.items()
        # A path is no secret, what it leads to is.
        if NAME.search(name) and len(value) >= SHORTEST and not value.startswith("/")
    }
    return sorted(found, key=len, reverse=True)
