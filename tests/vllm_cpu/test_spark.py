"""The engine vllm inside Spark's Python workers: built once, and found again by the next job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.vllm_cpu.test_engine import ARGS, MODEL, chat
from udfs.engines.base import COMPLETION_DDL
from udfs.engines.worker import engine_function
from webscale_rl.spark.session import build_session

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-vllm")


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    session = build_session(app_name="vllm", master="local[1,2]")
    yield session
    session.stop()


def complete(spark: SparkSession, asked: dict[str, str]) -> dict[str, dict[str, Any]]:
    frame = spark.createDataFrame(list(asked.items()), "request_id string, request string").coalesce(1)
    function = engine_function({"engine": "vllm", "options": {"model": MODEL, "args": ARGS}})
    return {row["request_id"]: row.asDict() for row in frame.mapInArrow(function, COMPLETION_DDL).collect()}


def test_the_next_job_finds_the_engine_that_is_up(spark: SparkSession) -> None:
    asked = {f"r{n}": chat(f"Name something about {n}.") for n in range(12)} | {"bad": chat("word " * 5000)}
    first = complete(spark, asked)
    assert first["bad"]["error"].startswith("prompt_too_long")
    second = complete(spark, asked)
    texts = {key: row["text"] for key, row in first.items()}
    assert {key: row["text"] for key, row in second.items()} == texts
    # An engine's own count: what the first job read is still in its cache.
    shared = chat("The museum of the town keeps a list of all its clocks. " * 30)
    assert complete(spark, {"x": shared})["x"]["cached_tokens"] == 0
    assert complete(spark, {"x": shared})["x"]["cached_tokens"] > 200
