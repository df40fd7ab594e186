"""Gates that ask a model, beside the run itself: tried on a frame, and counted in a plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.helpers import collected
from tests.smallrun import CLIMB, SURVEY, SmallRun
from webscale_rl import Pipeline
from webscale_rl.config.load import Config, load
from webscale_rl.report import views
from webscale_rl.runtime.flow import Flow
from webscale_rl.stages.registry import STAGES

FREE = ("check.round_trip.method=free", "check.round_trip.prompt=tuned_answer")


def settings(run: SmallRun, warehouse: Path, gates: str) -> Config:
    overrides = (*FREE, f"check.gates=[{gates}]")
    return load(run.folder / "config.yml", overrides, {"warehouse": str(warehouse)})


@pytest.mark.parametrize("gate", ["round_trip", "round_trip_support"])
def test_a_frame_is_checked_with_either_round_trip(
    spark: SparkSession, small_run: SmallRun, gate: str
) -> None:
    config = settings(small_run, small_run.folder / "wh", f"lengths, {gate}, judge")
    pipeline = Pipeline(config=config, spark=spark)
    warehouse = pipeline.open()
    pairs = Flow(STAGES, warehouse.read, views.active_recipes(warehouse)).inputs("check")
    asked = {row["pair_key"]: row["question"].strip() for row in collected(pairs)}
    found = collected(pipeline.apply("check", pairs))
    said = {asked[row["pair_key"]]: (row["status"], row["reasons"]) for row in found}
    assert said == {
        f"In what year {SURVEY}": ("kept", []),
        f"In what year {CLIMB}": ("rejected", ["answer_not_confirmed"]),
    }


def test_a_plan_counts_the_requests_of_both_round_trips(
    spark: SparkSession, small_run: SmallRun, tmp_path: Path
) -> None:
    def planned(gates: str) -> tuple[int, int]:
        config = settings(small_run, tmp_path / "wh", gates)
        line = next(one for one in Pipeline(config=config, spark=spark).plan() if one.stage == "check")
        return line.pending, line.requests

    pending, requests = planned("lengths, round_trip_support, round_trip, judge")
    assert pending > 0
    assert requests == 3 * pending
