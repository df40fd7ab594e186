"""Engines on GPUs as Spark schedules them: a cluster of processes, with GPUs of its scripts alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.fakes import traced
from tests.helpers import ROOT

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the passes of gpu_cluster.py gave, and under `events` what happened to the engines in each."""
    folder = tmp_path_factory.mktemp("gpus")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/process/gpu_cluster.py"), str(folder)],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    events, before = traced(folder / "trace"), 0
    for stage in ("first", "again", "killed", "other"):
        told[stage]["events"], before = events[before : told[stage]["events"]], told[stage]["events"]
    return told


def of(ran: dict[str, Any], stage: str, event: str) -> list[dict[str, Any]]:
    return [one for one in ran[stage]["events"] if one["event"] == event]


def test_each_engine_has_a_gpu_of_its_own(ran: dict[str, Any]) -> None:
    assert ran["placement"] == {"workers": 4, "notes": []}
    built = of(ran, "first", "built")
    # Two executors with the GPUs 0 and 1 each.
    assert sorted(one["gpus"] for one in built) == ["0", "0", "1", "1"]
    assert len({one["pid"] for one in built}) == 4
    calls = of(ran, "first", "called")
    assert len(calls) == 240
    assert {one["pid"] for one in calls} == {one["pid"] for one in built}


def test_later_chunks_and_passes_find_the_engines_that_are_up(ran: dict[str, Any]) -> None:
    assert len([load for load in ran["first"]["loads"] if load > 0]) == 4
    assert len(ran["first"]["loads"]) > 8, "several chunks, four tasks each"
    assert of(ran, "again", "built") == []
    assert set(ran["again"]["loads"]) == {0.0}
    assert ran["again"]["kept"] == 240


def test_a_killed_worker_costs_its_engine_and_nothing_else(ran: dict[str, Any]) -> None:
    assert ran["killed"]["kept"] == ran["killed"]["rows"] == 240
    built = of(ran, "killed", "built")
    assert len(built) == 1
    # It has the GPU of the one that was killed, and the three others went on.
    callers = {one["pid"]: one["gpus"] for one in of(ran, "killed", "called")}
    before = {one["pid"]: one["gpus"] for one in of(ran, "first", "called")}
    assert {pid for pid in callers if pid not in before} == {built[0]["pid"]}
    (lost,) = [gpus for pid, gpus in before.items() if pid not in {p["pid"] for p in ran["other"]["events"]}]
    assert built[0]["gpus"] == lost


def test_another_model_starts_when_the_earlier_one_has_gone(ran: dict[str, Any]) -> None:
    assert ran["other"]["kept"] == 240
    events = ran["other"]["events"]
    built = [one for one in events if one["event"] == "built"]
    assert len(built) == 4
    for one in built:
        mine = [e["event"] for e in events if e["pid"] == one["pid"]]
        assert mine[:2] == ["closed", "built"], "in the same worker, the earlier engine first"
