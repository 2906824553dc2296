"""Empty places to store things in, a network that breaks, and a Ray."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import ray

from tests.integration.broken_network import Proxy


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


@pytest.fixture
def proxy(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a faulty network between this process, those it starts, and the S3 server."""
    del s3  # its variables are in the environment
    with Proxy.before(os.environ["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield between


@pytest.fixture(scope="module")
def cluster(s3: str) -> Iterator[None]:
    """Let all tests of a file share the Ray that the first one starts, with the server's keys."""
    del s3  # its variables are in the environment that Ray's workers inherit
    ray.shutdown()
    yield
    ray.shutdown()
