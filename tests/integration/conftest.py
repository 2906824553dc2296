"""Empty places to store things in, and a Ray."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import ray


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


@pytest.fixture(scope="module")
def cluster(s3: str) -> Iterator[None]:
    """Let all tests of a file share the Ray that the first one starts, with the server's keys."""
    del s3  # its variables are in the environment that Ray's workers inherit
    ray.shutdown()
    yield
    ray.shutdown()
