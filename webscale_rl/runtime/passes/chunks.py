"""The requests of one pass, written once: in chunks of like size, in the order of their prefixes.

What is sent together shares its beginnings, so that an engine reads them once; chunks and the tasks within a
chunk are cut by estimated tokens, not by rows, so that engines side by side end together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

MAX_CHUNKS = 10_000
# The order of prefixes is cut into parts by a sample; chunks of a part, which are cut exactly.
_CHUNKS_A_PART = 8
# Columns of the written requests that are no part of a stage's rows.
WORKING = ("_done", "_tokens", "_prefix", "_part", "_first", "_chunk", "_position", "_reach")


@dataclass(frozen=True)
class Chunk:
    """Requests that are sent together: as they were cut, or what is left of that.

    Attributes:
        cut: number of the chunk as it was cut.
        low, high: first and last position; positions count the distinct requests of a part of the order.
        start, end: where the chunk begins and ends in the running sum of estimated tokens.
    """

    cut: int
    low: int
    high: int
    start: float
    end: float

    @property
    def requests(self) -> int:
        return self.high - self.low + 1

    @property
    def tokens(self) -> float:
        return self.end - self.start

    def first(self, count: int) -> Chunk:
        """The chunk's first requests."""
        end = self.start + self.tokens * count / self.requests
        return Chunk(self.cut, self.low, self.low + count - 1, self.start, end)

    def after(self, count: int) -> Chunk:
        """What comes after them."""
        start = self.start + self.tokens * count / self.requests
        return Chunk(self.cut, self.low + count, self.high, start, self.end)

    def halves(self) -> tuple[Chunk, Chunk]:
        """The chunk in two."""
        middle = self.requests // 2
        return self.first(middle), self.after(middle)

    def rows(self, written: DataFrame) -> DataFrame:
        """Its rows among the written ones, several for a request that several rows ask."""
        return written.where((F.col("_chunk") == self.cut) & ~F.col("_done")).where(
            F.col("_position").between(self.low, self.high)
        )

    def spread(self, rows: DataFrame, tasks: int) -> DataFrame:
        """One row a request, in partitions of like tokens and in the order of the prefixes.

        Args:
            rows: what `rows` gave, with any further columns.
        """
        share = F.floor((F.col("_reach") - F.col("_tokens") - self.start) * tasks / max(self.tokens, 1.0))
        task = F.greatest(F.lit(0), F.least(F.lit(tasks - 1), share)).cast("int")
        firsts = rows.where("_first").withColumn("_task", task)
        return firsts.repartitionById(tasks, "_task").sortWithinPartitions("_position").drop("_task")


def in_chunks(marked: DataFrame, chunk_tokens: int, tokens: int) -> DataFrame:
    """Requests with their chunk and position, ready to be written.

    Args:
        marked: request_id string, _done boolean (a completion is there), _tokens long, _prefix string (the
            same for equal requests), and the columns that requests and rows are made from.
        chunk_tokens: estimated tokens of a chunk.
        tokens: of all requests that are not done.

    Returns:
        The rows with _part, _first (one row of each request), _chunk, _position (from 1 within a part, over
        distinct requests) and _reach (running sum of tokens up to and with the request, likewise).
    """
    size = max(chunk_tokens, math.ceil(tokens / MAX_CHUNKS))
    parts = max(1, min(math.ceil(tokens / size / _CHUNKS_A_PART), MAX_CHUNKS // _CHUNKS_A_PART))
    ranged = marked.repartitionByRange(parts, "_done", "_prefix", "request_id").withColumn(
        "_part", F.spark_partition_id()
    )
    within = Window.partitionBy("_part", "_done")
    ordered = within.orderBy("_prefix", "request_id")
    before = F.lag("request_id").over(ordered)
    firsts = ranged.withColumn("_first", before.isNull() | (before != F.col("request_id")))
    counted: Column = F.when(F.col("_first"), F.col("_tokens")).otherwise(F.lit(0))
    running = ordered.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    reached = firsts.withColumn("_reach", F.sum(counted).over(running)).withColumn(
        "_position", F.dense_rank().over(ordered)
    )
    # As many chunks as the part's tokens ask for, all of one size.
    total = F.sum(counted).over(within)
    count = F.greatest(F.lit(1), F.round(total / size))
    chunk = F.least(count - 1, F.floor((F.col("_reach") - F.col("_tokens")) * count / total))
    number = F.col("_part") * F.lit(MAX_CHUNKS) + F.coalesce(chunk, F.lit(0))
    return reached.withColumn("_chunk", number.cast("int"))


def chunks(written: DataFrame) -> list[Chunk]:
    """The chunks that are to be sent, in order."""
    found = (
        written.where(~F.col("_done"))
        .groupBy("_chunk")
        .agg(
            F.min("_position").alias("low"),
            F.max("_position").alias("high"),
            F.min(F.col("_reach") - F.col("_tokens")).alias("start"),
            F.max("_reach").alias("end"),
        )
        .orderBy("_chunk")
        .collect()
    )
    return [
        Chunk(row["_chunk"], row["low"], row["high"], float(row["start"]), float(row["end"])) for row in found
    ]
