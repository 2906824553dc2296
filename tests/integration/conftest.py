"""Empty places to store things in."""

from pathlib import Path
from uuid import uuid4

import pytest


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty folder or prefix."""
    if request.param == "folder":
        return str(tmp_path)
    return f"{request.getfixturevalue('s3')}/{uuid4().hex}"


@pytest.fixture
def prefix(s3: str) -> str:
    """Give the URL of an empty prefix in a bucket."""
    return f"{s3}/{uuid4().hex}"
