"""Processes that work together, on CPUs also where there is a GPU, but not one for each."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def on_cpus() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield
