"""Near-duplicate removal on a cluster of processes gives what one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.process


def ran(folder: Path, master: str) -> dict[str, Any]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/process/dedup_cluster.py"), str(folder), master],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_cluster_finds_what_one_process_finds(tmp_path: Path) -> None:
    alone = ran(tmp_path / "alone", "local[1]")
    together = ran(tmp_path / "together", "local-cluster[2,1,1536]")
    assert together == alone
    assert len(alone) == 520
    for number in range(120):
        # The copy goes, its original stays: it came first, or has the smaller key.
        pair = {f"d{number:04}", f"d{400 + number:04}"}
        kept = [name for name in pair if alone[name][0] == "kept"]
        assert len(kept) == 1, pair
        (gone,) = pair - set(kept)
        assert alone[gone][1:] == [["near_duplicate"], kept[0]]
