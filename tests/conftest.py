"""What several tests share: a real S3 server, and a way out past Ray's threads."""

import atexit
import os
import sys
from collections.abc import Iterator

import pytest

from tools.local_s3 import local_s3

STATUS = pytest.StashKey[int]()


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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the status that the process is to end with."""
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End a process that had several Rays, one after the other, without C++'s clean-up.

    Each leaves threads that go on while what they use is destroyed: once in some twenty whole runs
    the process ended in a segmentation fault after all tests had passed.
    """
    if "ray" in sys.modules and STATUS in config.stash and "PYTEST_XDIST_WORKER" not in os.environ:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[STATUS])
