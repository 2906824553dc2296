from pathlib import Path

import pytest

from tests.unit.reporting.scored_runs import WriteRun, write_run_in


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Write a run's folder as training and scoring leave it; return its URL."""
    return write_run_in(tmp_path)
