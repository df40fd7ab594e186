"""Near duplicates: MinHash-LSH candidates, verified by exact Jaccard similarity, made into clusters.

The order of the work, each step a frame of its own:

    texts       -> band keys      one compiled pass (udfs/dedup)
    band keys   -> candidates     documents with one band key in common; 12 bytes an entry are shuffled
    candidates  -> groups         connected, so that each text is sent to one place only
    groups      -> verified pairs exact Jaccard similarity at or above the threshold
    verified    -> verdicts       the clusters of verified pairs, and who stays in each

Only verified pairs make clusters: the closure of unverified candidates joins documents by the thousand that
have nothing in common.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from udfs.dedup.bands import (
    ENTRY_BYTES,
    PAIR_DDL,
    BandSettings,
    BucketLimits,
    pairs_function,
)
from udfs.dedup.election import VERDICT_DDL, elect_function
from udfs.dedup.groups import GROUP_DDL, groups_function
from udfs.dedup.verification import NODE_COLUMNS, VERIFIED_DDL, verify_function
from webscale_rl.spark.session import described, parallelism
from webscale_rl.stages.deduplicate.components import connected_components

# Permutations that a choice of bands may use, and the recall at the threshold that it must promise.
MAX_PERMUTATIONS = 200
MIN_RECALL = 0.985
RECALL_AT = (0.75, 0.8, 0.85, 0.9)

# A bucket over a limit gives not all its pairs, but each document's with a few of them.
LIMITS = BucketLimits(largest=64, representatives=4)
# Documents of one group: what is in one worker's memory at a time.
LARGEST_GROUP = 8_192
# Pairs that one task can hold (16 bytes each, some times over).
SHORT_WAY_PAIRS = 4_000_000
# Bytes of one partition of entries, and of texts, as far as they are known.
_ENTRY_PARTITION = 48 << 20
_TEXT_PARTITION = 64 << 20
# Ids that are sent to all executors (about 40 bytes each) instead of shuffling texts or band keys for them.
_BROADCAST_IDS = 4_000_000
# The same for rows with some keys in them (about 300 bytes each).
_BROADCAST_ROWS = 400_000
_NODE_COLUMNS = tuple(name for name, _ in NODE_COLUMNS)


def expected_recall(similarity: float, bands: int, rows: int) -> float:
    """The share of pairs of that similarity which become candidates: 1 - (1 - s^rows)^bands."""
    return float(1.0 - (1.0 - similarity**rows) ** bands)


def choose_bands(threshold: float) -> tuple[int, int]:
    """Bands and rows for a threshold.

    The most rows (fewest false candidates) with which `MAX_PERMUTATIONS` give a recall of at least
    `MIN_RECALL` at the threshold itself; where none do, one row.
    """
    rows = MAX_PERMUTATIONS
    while rows > 1 and expected_recall(threshold, MAX_PERMUTATIONS // rows, rows) < MIN_RECALL:
        rows -= 1
    return MAX_PERMUTATIONS // rows, rows


def describe_recall(bands: int, rows: int) -> str:
    """What to expect, in words: "25 bands of 8 rows find 0.92 of pairs at 0.75, ..."."""
    shares = ", ".join(f"{expected_recall(s, bands, rows):.4f} at {s}" for s in RECALL_AT)
    return f"{bands} bands of {rows} rows; expected share of similar pairs found: {shares}"


@dataclass
class Work:
    """How the steps keep what they computed, and what they saw.

    Attributes:
        keep: computes a frame at once and cuts it off from its plan. On a cluster where executors come and
            go, one that writes to a table (``localCheckpoint``, the default, keeps it in executors).
        note: told what is being done.
        figures: one mapping a step: step, seconds, and what was counted.
    """

    keep: Callable[[DataFrame, str], DataFrame] = lambda frame, _: frame.localCheckpoint()
    note: Callable[[str], None] = lambda _: None
    figures: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a step; the mapping it gives is for the figures."""
        seen: dict[str, Any] = {"step": name}
        started = time.monotonic()
        with described(f"near duplicates: {name}"):
            yield seen
        seen["seconds"] = time.monotonic() - started
        self.figures.append(seen)
        counted = ", ".join(f"{key} {value:,}" for key, value in seen.items() if isinstance(value, int))
        self.note(f"{name}: {counted} in {seen['seconds']:.1f} s")

    def keep_counting(self, frame: DataFrame, name: str, seen: dict[str, Any], **counts: Column) -> DataFrame:
        """Keep a frame and put aggregates over it among a step's figures, without a job of their own."""
        watched, read = counting(frame, **counts)
        kept = self.keep(watched, name)
        seen |= read()
        return kept

    def counted(self, step: str, name: str) -> int:
        """What the last step of that name counted; 0 where it did not run."""
        return next((int(seen.get(name, 0)) for seen in reversed(self.figures) if seen["step"] == step), 0)


def counting(frame: DataFrame, **counts: Column) -> tuple[DataFrame, Callable[[], dict[str, int]]]:
    """Have aggregates (no distinct ones) computed along with a frame.

    Returns:
        The frame to compute, and a function that gives the aggregates after that (null is 0).
    """
    observation = Observation()
    watched = frame.observe(observation, *[column.alias(name) for name, column in counts.items()])
    return watched, lambda: {name: int(value or 0) for name, value in observation.get.items()}


@dataclass(frozen=True)
class NearSettings:
    """What decides the outcome.

    Attributes:
        threshold: exact Jaccard similarity from which two documents are near duplicates.
        bands: what decides the band keys.
        chain: see `udfs.dedup.election.elect_function`.
    """

    threshold: float
    bands: BandSettings
    chain: bool


def fresh_node(key: Column, age: Column) -> list[Column]:
    """The columns of a node (see `near_verdicts`) for a document without a verdict."""
    nothing = F.lit(None)
    return [
        F.xxhash64(key).alias("id"),
        key.alias("key"),
        age.cast("bigint").alias("age"),
        F.lit(True).alias("fresh"),
        nothing.cast("string").alias("cluster"),
        nothing.cast("string").alias("representative"),
        nothing.cast("bigint").alias("representative_age"),
    ]


def entry_partitions(frame: DataFrame, documents: int, bands: int) -> int:
    """How many partitions the entries of a number of documents need."""
    size = documents * bands * ENTRY_BYTES
    return max(parallelism(frame.sparkSession), math.ceil(size / _ENTRY_PARTITION))


def send_few(rows: DataFrame, count: int) -> DataFrame:
    """Rows of some hundred bytes to be joined with: sent to all executors unless they are too many."""
    return F.broadcast(rows) if count <= _BROADCAST_ROWS else rows


def join_ids(rows: DataFrame, ids: DataFrame, count: int, how: str) -> DataFrame:
    """Join rows with a known number of ids on ``id``; unless they are too many, the ids are sent to the
    rows.
    """
    return rows.join(F.broadcast(ids) if count <= _BROADCAST_IDS else ids, "id", how)


def near_verdicts(
    texts: DataFrame,
    nodes: Callable[[DataFrame, int], DataFrame],
    entries: DataFrame,
    partitions: int,
    settings: NearSettings,
    work: Work,
) -> DataFrame:
    """Verdicts on the fresh documents that are similar to another one.

    Args:
        texts: id bigint (a 64-bit hash of key), text string. Only those of candidates are sent anywhere.
        nodes: gives, for so many ids (id bigint), what else is known of them: id bigint, key string, age
            bigint, fresh boolean; and of documents with a verdict (fresh false) cluster string,
            representative string and representative_age bigint. A document without a row here is compared
            with none.
        entries: `udfs.dedup.bands.ENTRY_DDL`, for so many partitions.

    Returns:
        `udfs.dedup.election.VERDICT_DDL`, one row a fresh document in a cluster of two or more.
    """
    with work.step("candidates") as seen:
        pairs = work.keep_counting(
            entries.repartitionById(partitions, "partition").mapInArrow(
                pairs_function(settings.bands.bands, LIMITS), PAIR_DDL
            ),
            "pairs",
            seen,
            candidates=F.count("a"),
            shuffled_bytes=F.sum("bytes"),
            largest_partition_bytes=F.max("bytes"),
            buckets=F.sum("buckets"),
            largest_bucket=F.max("biggest"),
        )
        candidates = pairs.where(F.col("a").isNotNull()).select("a", "b")
    short = seen["candidates"] <= SHORT_WAY_PAIRS
    with work.step("groups") as seen:
        groups = _groups(candidates, short, work, seen)
        members = groups.where(F.col("other").isNull())
    if seen["candidates"] == 0:
        return texts.sparkSession.createDataFrame([], VERDICT_DDL)
    with work.step("verified") as seen_verified:
        ids = members.select("grp", "id")
        rows = [
            join_ids(texts, ids, seen["documents"], "inner").select("grp", "id", "text"),
            join_ids(nodes(ids.select("id"), seen["documents"]), ids, seen["documents"], "inner").select(
                "grp", "id", *_NODE_COLUMNS
            ),
            groups.where(F.col("other").isNotNull()),
        ]
        together = rows[0].unionByName(rows[1], allowMissingColumns=True)
        together = together.unionByName(rows[2], allowMissingColumns=True)
        count = max(parallelism(texts.sparkSession), math.ceil(seen["documents"] * 4096 / _TEXT_PARTITION))
        verified = work.keep_counting(
            together.repartition(count, "grp")
            .sortWithinPartitions("grp")
            .mapInArrow(verify_function(settings.bands.shingle_size, settings.threshold), VERIFIED_DDL),
            "verified",
            seen_verified,
            pairs=F.count("b"),
            documents=F.count_if(F.col("b").isNull()),
        )
    with work.step("clusters") as seen:
        short = seen_verified["pairs"] + seen_verified["documents"] <= SHORT_WAY_PAIRS
        placed = _by_cluster(verified, short, work, seen)
        return work.keep_counting(
            placed.mapInArrow(elect_function(settings.chain), VERDICT_DDL),
            "verdicts",
            seen,
            documents=F.count(F.lit(1)),
            rejected=F.count_if(F.col("status") == "rejected"),
            new_clusters=F.count_if(F.col("status") == "kept"),
            bridges=F.count("bridged"),
        )


def _groups(candidates: DataFrame, short: bool, work: Work, seen: dict[str, Any]) -> DataFrame:
    """The groups (`udfs.dedup.groups.GROUP_DDL`) of candidate pairs."""
    counts = {"documents": F.count_if(F.col("other").isNull()), "candidates": F.count("other")}
    if short:
        seen["rounds"] = 0
        placed = candidates.repartition(1).mapInArrow(groups_function(LARGEST_GROUP), GROUP_DDL)
        return work.keep_counting(placed, "groups", seen, **counts)
    found = connected_components(candidates, lambda frame, name: work.keep(frame, f"groups_{name}"))
    labels = work.keep(found.labels, "groups_labels")
    sizes = labels.groupBy("component").agg((F.count("*") > LARGEST_GROUP).alias("too_large"))
    pairs = (
        candidates.distinct()
        .join(labels.withColumnRenamed("id", "a"), "a")
        .join(sizes.where("too_large"), "component", "left")
    )
    # Pairs of a component that is too large stand around their first document, in pieces.
    piece = F.pmod(F.xxhash64("b"), F.lit(16))
    group = F.when(F.col("too_large"), F.xxhash64("a", piece)).otherwise(F.col("component"))
    pairs = work.keep(pairs.select(group.alias("grp"), "a", "b"), "groups_pairs")
    members = pairs.select("grp", F.col("a").alias("id")).union(pairs.select("grp", F.col("b").alias("id")))
    everything = pairs.select("grp", F.col("a").alias("id"), F.col("b").alias("other")).union(
        members.distinct().withColumn("other", F.lit(None).cast("bigint"))
    )
    seen |= {"rounds": found.rounds, "shuffled_bytes": found.shuffled_bytes}
    return work.keep_counting(everything, "groups", seen, **counts)


def _by_cluster(verified: DataFrame, short: bool, work: Work, seen: dict[str, Any]) -> DataFrame:
    """The verified rows, with all that belongs to one cluster in one partition."""
    if short:
        seen["rounds"] = 0
        return verified.repartition(1)
    pairs = verified.where(F.col("b").isNotNull()).select("a", "b")
    # Old documents of one cluster belong together, though no pair of theirs was looked at again.
    known = verified.where(F.col("cluster").isNotNull()).select("a", F.xxhash64("cluster").alias("b"))
    found = connected_components(pairs.union(known), lambda frame, name: work.keep(frame, f"clusters_{name}"))
    labels = found.labels.withColumnRenamed("id", "a")
    seen |= {"rounds": found.rounds, "shuffled_bytes": found.shuffled_bytes}
    return verified.join(labels, "a").repartition("component").drop("component")
