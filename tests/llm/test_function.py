"""The SQL function `complete`: rows keep their replies, and what cannot be answered has a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from webscale_rl.config.load import load
from webscale_rl.llm.engines import Engine, Engines, EngineSettings
from webscale_rl.llm.function import register_complete

SCHEMA = '{"type": "object", "required": ["good"], "properties": {"good": {"type": "boolean"}}}'


@pytest.fixture
def log(spark: SparkSession, tmp_path: Any) -> Iterator[Any]:
    """The engine's log, while `complete` is known to the session."""
    options = {"log": str(tmp_path / "log"), "lasting": "FAIL", "replies": {"river": "the Rhine"}}
    settings = EngineSettings(engine="tests.fakes:FakeEngine", options=options)
    register_complete(spark, Engine("fake", settings, {}), max_tokens=20)
    yield tmp_path / "log"
    spark.sql("DROP TEMPORARY FUNCTION complete")


def test_each_row_gets_its_own_reply(spark: SparkSession, log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small batches, so that requests cross their borders.
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "3")
    try:
        rows = spark.sql(
            "SELECT id, reply.* FROM (SELECT id, "
            "complete(concat('say ', id, if(id % 5 = 3, ' FAIL', ''))) AS reply "
            "FROM range(0, 17, 1, 2))"
        ).collect()
        alone = {
            n: spark.sql(f"SELECT complete('say {n}').text AS text").collect()[0]["text"] for n in (0, 9)
        }
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    assert sorted(row["id"] for row in rows) == list(range(17))
    for row in rows:
        if row["id"] % 5 == 3:
            assert (row["text"], row["error"]) == (None, "told_to_fail: for good")
        else:
            assert row["text"].startswith("reply ")
            assert row["error"] is None
            assert row["completion_tokens"] > 0
    texts = {row["id"]: row["text"] for row in rows}
    assert {n: texts[n] for n in alone} == alone
    assert len({text for text in texts.values() if text}) == 14
    assert len(called(log)) == 19, "each row is one call"


def test_a_schema_and_rows_that_cannot_be_asked(spark: SparkSession, log: Any) -> None:
    asked = [
        ("a", "river?", None),
        ("b", "good?", SCHEMA),
        ("c", None, None),
        ("d", "x", "no json"),
        ("e", "x", '{"type": "array", "uniqueItems": true}'),
    ]
    spark.createDataFrame(asked, "key string, prompt string, wanted string").createOrReplaceTempView("asked")
    rows = spark.sql("SELECT key, complete(prompt, wanted) AS reply FROM asked").collect()
    replies = {row["key"]: row["reply"] for row in rows}
    assert replies["a"]["text"] == "the Rhine"
    assert json.loads(replies["b"]["text"]) == {"good": True}
    for key, reason in (("c", "empty_prompt"), ("d", "refused_schema"), ("e", "refused_schema")):
        assert replies[key]["text"] is None
        assert replies[key]["error"].startswith(reason)


def test_no_rows_and_no_call_twice(spark: SparkSession, log: Any) -> None:
    assert spark.sql("SELECT complete(string(id)) FROM range(0)").collect() == []
    filtered = "SELECT r.text FROM (SELECT complete(string(id)) AS r FROM range(6)) WHERE r.error IS NULL"
    assert spark.sql(filtered).count() == 6
    assert len(called(log)) == 6


def test_an_engine_with_an_adapter_is_asked_for_it(spark: SparkSession) -> None:
    settings = EngineSettings(engine="tests.fakes:FakeEngine", options={"adapter": "a" * 64})
    register_complete(spark, Engines({"fake": settings}).get("fake"), "adapted")
    row = spark.sql("SELECT adapted('say it') AS reply").collect()[0]["reply"]
    assert (row["error"], row["text"][:6]) == (None, "reply ")
    spark.sql("DROP TEMPORARY FUNCTION adapted")


@pytest.mark.model
def test_the_default_engine_answers(spark: SparkSession) -> None:
    engine = Engines(load().engines).get("embedded")
    assert engine.identity["adapter"], "the packaged adapter is on"
    register_complete(spark, engine, "embedded", max_tokens=8)
    row = spark.sql("SELECT embedded('What is the capital of France?') AS reply").collect()[0]["reply"]
    assert (row["error"], bool(row["text"].strip())) == (None, True)
    spark.sql("DROP TEMPORARY FUNCTION embedded")
