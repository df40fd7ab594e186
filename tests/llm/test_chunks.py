"""How the requests of a pass are cut: whole, in order, and by tokens."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from webscale_rl.runtime.passes.chunks import Chunk, chunks, in_chunks


def marked(spark: SparkSession, rows: list[tuple[str, bool, int, str]]) -> DataFrame:
    return spark.createDataFrame(rows, "request_id string, _done boolean, _tokens long, _prefix string")


def test_chunks_and_tasks_are_of_like_tokens_and_keep_prefixes_together(
    spark: SparkSession, tmp_path: Any
) -> None:
    chance = random.Random(3)
    # A tenth of the requests has most of the tokens, and stands together.
    rows = [
        (f"{n:03}", False, 4000 if n < 40 else chance.randrange(50, 150), f"prefix {n // 4:03}")
        for n in range(400)
    ]
    total = sum(tokens for _, _, tokens, _ in rows)
    in_chunks(marked(spark, rows), 20_000, total).write.parquet(str(tmp_path / "written"))
    written = spark.read.parquet(str(tmp_path / "written"))
    found = chunks(written)
    assert len(found) == round(total / 20_000)
    assert sum(chunk.requests for chunk in found) == 400
    assert all(abs(chunk.tokens - 20_000) < 5_000 for chunk in found), [chunk.tokens for chunk in found]
    order: list[str] = []
    for chunk in found:
        part = chunk.spread(chunk.rows(written), 2).withColumn("task", F.spark_partition_id()).collect()
        assert {row["task"] for row in part} == {0, 1}
        tokens = [sum(row["_tokens"] for row in part if row["task"] == task) for task in (0, 1)]
        assert abs(tokens[0] - tokens[1]) <= 8_000, tokens
        order += [row["_prefix"] for task in (0, 1) for row in part if row["task"] == task]
    assert order == sorted(order)


def test_equal_requests_are_sent_once_and_known_ones_not_at_all(spark: SparkSession, tmp_path: Any) -> None:
    rows = [("a", False, 10, "p"), ("a", False, 10, "p"), ("b", False, 10, "q"), ("c", True, 10, "p")]
    in_chunks(marked(spark, rows), 1000, 20).write.parquet(str(tmp_path / "written"))
    written = spark.read.parquet(str(tmp_path / "written"))
    (chunk,) = chunks(written)
    assert (chunk.requests, chunk.tokens) == (2, 20)
    assert chunk.rows(written).count() == 3
    assert [row["request_id"] for row in chunk.spread(chunk.rows(written), 1).collect()] == ["a", "b"]


@given(
    low=st.integers(1, 1000),
    count=st.integers(2, 1000),
    start=st.floats(0, 1e6),
    tokens=st.floats(1, 1e6),
    data=st.data(),
)
def test_a_cut_chunk_is_whole(low: int, count: int, start: float, tokens: float, data: Any) -> None:
    chunk = Chunk(7, low, low + count - 1, start, start + tokens)
    at = data.draw(st.integers(1, count - 1))
    for first, second in ((chunk.first(at), chunk.after(at)), chunk.halves()):
        assert (first.low, second.high) == (chunk.low, chunk.high)
        assert first.high + 1 == second.low
        assert first.start == chunk.start
        assert first.end == second.start
        assert abs(second.end - chunk.end) < 1e-6 * max(chunk.end, 1)
        assert min(first.requests, second.requests) >= 1
