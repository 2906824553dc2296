"""What several tests share: a real S3 server, and who runs beside whom."""

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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that start several processes of their own from running beside each other.

    The tests of any other file stay together, since they share what is slow to make.
    """
    for item in items:
        several = item.get_closest_marker("distributed") is not None
        item.add_marker(pytest.mark.xdist_group("distributed" if several else item.location[0]))
