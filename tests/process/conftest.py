"""What the tests that start real processes share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

# Seconds for one test; some start a dozen processes, each with a JVM.
PATIENCE = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of processes longer than the others have (pyproject.toml)."""
    for item in items:
        if item.get_closest_marker("process"):
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make package` gives, built from this clone in this environment."""
    folder = tmp_path_factory.mktemp("dist")
    here = [f"BIN={Path(sys.executable).parent}", f"DIST={folder}"]
    # The environment is the one that runs this, not the one that make would see to.
    built = subprocess.run(
        ["make", "--old-file", ".venv/.installed", "package", *here],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, (built.stdout + built.stderr)[-2000:]
    return folder
