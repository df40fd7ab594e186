"""Connected components of a graph that is too large for one task.

Alternating large-star and small-star steps (Kiveris, Lattanzi, Mirrokni, Rastogi and Vassilvitskii,
*Connected Components in MapReduce and Beyond*, SoCC 2014): each round hangs every node below the smallest
node that it can see, so that a chain of n nodes takes about log n rounds. Native DataFrames; what is
shuffled is pairs of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.errors import WebscaleRLError

MAX_ROUNDS = 60
_PAIR_BYTES = 16


@dataclass(frozen=True)
class Components:
    """The components of a graph.

    Attributes:
        labels: id bigint, component bigint (the smallest id of the component); one row a node.
        rounds: how many rounds it took.
        shuffled_bytes: bytes of the pairs that went through shuffles, 16 a pair, uncompressed.
    """

    labels: DataFrame
    rounds: int
    shuffled_bytes: int


def connected_components(edges: DataFrame, keep: Callable[[DataFrame, str], DataFrame]) -> Components:
    """Label each node with the smallest id of its component.

    Args:
        edges: a bigint, b bigint, in any order and number.
        keep: computes a frame once and cuts it off from its plan (called with a name that is unique
            within this call).

    Raises:
        WebscaleRLError: no end after `MAX_ROUNDS` rounds, which only a bug explains.
    """
    current = keep(edges.where("a <> b").select("a", "b").distinct(), "edges_0")
    shuffled = 0
    before = None
    for number in range(1, MAX_ROUNDS + 1):
        large = keep(_star(current, keep_smaller=False), f"large_{number}")
        current = keep(_star(large, keep_smaller=True), f"small_{number}")
        state = current.agg(
            F.count("*").alias("edges"),
            # Sums of hashes, not the sums of ids: another graph with the same sum is next to impossible.
            F.coalesce(F.sum(F.xxhash64("a", "b").cast("decimal(38,0)")), F.lit(0)).alias("sum"),
        ).collect()[0]
        shuffled += 4 * int(state["edges"]) * _PAIR_BYTES
        if before == state:
            # Stars only: every node hangs directly below the smallest one of its component.
            labels = current.select(F.col("a").alias("id"), F.col("b").alias("component")).union(
                current.select(F.col("b").alias("id"), F.col("b").alias("component"))
            )
            return Components(labels.distinct(), number, shuffled)
        before = state
    raise WebscaleRLError(f"connected components did not settle in {MAX_ROUNDS} rounds")


def _star(edges: DataFrame, keep_smaller: bool) -> DataFrame:
    """Hang the neighbours of each node below the smallest of them and itself.

    Large star (``keep_smaller`` false) moves the larger neighbours, small star the smaller ones and the
    node itself.
    """
    if keep_smaller:
        seen = edges.select(F.greatest("a", "b").alias("node"), F.least("a", "b").alias("other"))
    else:
        seen = edges.select(F.col("a").alias("node"), F.col("b").alias("other")).union(
            edges.select(F.col("b").alias("node"), F.col("a").alias("other"))
        )
    smallest = seen.groupBy("node").agg(F.min("other").alias("smallest"))
    smallest = smallest.withColumn("smallest", F.least("smallest", "node"))
    joined = seen.join(smallest, "node")
    if keep_smaller:
        moved = joined.select(F.col("other").alias("a"), F.col("smallest").alias("b")).union(
            smallest.select(F.col("node").alias("a"), F.col("smallest").alias("b"))
        )
    else:
        moved = joined.where("other > node").select(F.col("other").alias("a"), F.col("smallest").alias("b"))
    return moved.where("a <> b").distinct()
