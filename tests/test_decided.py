"""Permanent faults that other settings can mend: asked again when these change, and at no other time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from tests.helpers import (
    STAGE_NAMES,
    STAGE_TABLE,
    TABLES,
    about,
    by_stage,
    collected,
    documents,
    make_pipeline,
    prepared,
)
from udfs.engines.base import Engine
from udfs.engines.worker import engine_class
from webscale_rl import Pipeline
from webscale_rl.llm.engines import Engines, EngineSettings
from webscale_rl.runtime.budget import Budget

SCREEN_OF_1 = about(1) + "Judge the document"
ROUND_TRIP_OF_2 = about(2) + "Question: How high"
OPTIONS: dict[str, Any] = {"replies": prepared(3), "needs": {SCREEN_OF_1: 4096, ROUND_TRIP_OF_2: 4096}}


def verdicts(pipeline: Pipeline) -> dict[str, list[list[str]]]:
    """Per stage: the reasons of each of its rows."""
    warehouse = pipeline.open()
    tables = {"screen": "screened", "check": "checked"}
    return {
        stage: sorted(row["reasons"] for row in collected(warehouse.read(table)))
        for stage, table in tables.items()
    }


def assert_no_key_twice(pipeline: Pipeline) -> None:
    warehouse = pipeline.open()
    for name in (*STAGE_TABLE.values(), "gate_verdicts", "completions"):
        rows = [tuple(row[part] for part in TABLES[name].key) for row in collected(warehouse.read(name))]
        assert len(rows) == len(set(rows)), name


@pytest.mark.timeout(900)
def test_a_prompt_that_was_too_long_is_asked_again_once_the_context_is_raised(
    spark: SparkSession, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    small = make_pipeline(spark, tmp_path, documents(3), **OPTIONS)
    assert small.run().pairs == 3
    rejected = verdicts(small)
    too_long = ["prompt_too_long"]
    assert rejected == {"screen": [[], [], too_long], "check": [[], [], [], too_long]}
    faults = small.sql("SELECT error, decided_by FROM completions WHERE fault = 'permanent'").collect()
    assert {tuple(row) for row in faults} == {
        ("prompt_too_long: 4096 tokens, the context has 2048", '{"context":2048}')
    }
    # The screen of one document; of one pair the round trip and the judge, whose prompts begin alike.
    assert len(faults) == 3
    assert small.open().read("completions").where("fault IS NULL AND decided_by IS NOT NULL").isEmpty()
    paid = called(log)

    # Nothing has changed: nothing is asked.
    asking = STAGE_NAMES[STAGE_NAMES.index("screen") :]
    assert small.run(stages=asking).requests == 0
    assert verdicts(small) == rejected

    large = make_pipeline(spark, tmp_path, context=8192, **OPTIONS)
    planned = {line.stage: line for line in large.plan()}
    assert (planned["screen"].pending, planned["screen"].requests) == (1, 1)
    assert verdicts(large) == rejected, "a plan changes nothing"

    # Stopped on the way, what is to be asked again is pending.
    stopped = large.run(stages=["screen"], budget=Budget(max_tokens=1))
    assert (stopped.outcome, stopped.requests) == ("stopped", 0)
    screen = by_stage(large.status())["screen"]
    assert (screen.kept, screen.rejected, screen.pending) == (2, 0, 1)

    done = large.run(stages=asking)
    assert (done.outcome, done.pairs) == ("done", 6)
    asked = called(log)[len(paid) :]
    assert len([key for key in asked if key in paid]) == 3, "the three that were too long, once more each"
    assert verdicts(large) == {"screen": [[]] * 3, "check": [[]] * 6}
    assert (
        sorted(row["error"] for row in collected(large.open().read("attempts")))
        == ["prompt_too_long: 4096 tokens, the context has 2048"] * 3
    )
    assert large.open().read("completions").where("fault IS NOT NULL").isEmpty()
    assert_no_key_twice(large)

    # Good replies keep their identity: with the small context nothing is asked either.
    assert small.run(stages=asking).requests == 0
    assert verdicts(small) == {"screen": [[]] * 3, "check": [[]] * 6}


@pytest.mark.parametrize(
    ("engine", "options", "other", "fact"),
    [
        ("openai", {"model": "m"}, {"model": "m", "response_format": "prompt"}, "response_format"),
        ("openai", {"model": "m"}, {"model": "m", "base_url": "http://localhost:1/v1"}, "endpoint"),
        ("vllm", {"model": "m"}, {"model": "m", "args": {"max_model_len": 9}}, "max_model_len"),
    ],
)
def test_what_an_engine_s_options_decide(
    engine: str, options: dict[str, Any], other: dict[str, Any], fact: str
) -> None:
    made = engine_class(engine)
    assert made.decides(options)[fact] != made.decides(other)[fact]
    assert made.decides(options) == made.decides(dict(options))


def test_an_engine_of_the_user_s_own_need_not_say_what_decides() -> None:
    assert Engine.decides({"any": 1}) == {}
    settings = EngineSettings(engine="tests.fakes:FakeEngine")
    facts = Engines({"fake": settings}).get("fake").facts
    assert facts["context"] == 2048
    assert facts["schemas"]
