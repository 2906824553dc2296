"""What several tests of collections share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.exact_collection import write_collection
from tests.unit.data.looked_after import SCENES


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Write a small collection, with backgrounds."""
    write_collection(str(tmp_path / "c"), SCENES, with_backgrounds=True)
    return str(tmp_path / "c")


@pytest.fixture
def spare(url: str, tmp_path: Path) -> str:
    """Copy that collection to another place."""
    shutil.copytree(url, tmp_path / "spare")
    return str(tmp_path / "spare")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let OpenCV compute as an ingest's task does: flow's last digits depend on it."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)
