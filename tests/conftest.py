"""What several tests share: a real S3 server."""

import os
from collections.abc import Iterator

import pytest

from tools.local_s3 import local_s3


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a bucket that this process's AWS_* variables reach.

    All tests of the session share it: each writes below a prefix of its own.
    """
    folder = tmp_path_factory.mktemp("s3")
    with local_s3(folder, ["tests"]) as environment, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield "s3://tests"
