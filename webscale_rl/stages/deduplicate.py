"""Exact duplicates: of documents with the same content hash, one stays and stands for the others.

Works upon what is there: new documents are compared with the verdicts of the ones that are still
current. A document that was kept stays; only where it is gone does its cluster elect another. Native
columns throughout, and nothing is collected.

Near duplicates (MinHash) are not looked for in this version: `method: exact` is the only value that
the configuration takes, and the columns method, similarity and cluster_key have room for more.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.settings import Section

VERSION = 1


class DeduplicateSettings(Section):
    """How copies are told."""

    method: Literal["exact"] = Field(
        description="exact: the same content hash; the only method of this version"
    )


def apply(
    documents: DataFrame, earlier: DataFrame | None = None, settings: DeduplicateSettings | None = None
) -> DataFrame:
    """Keep one document of each set of copies.

    The survivor is the one that was kept before, if it is still among `earlier` or `documents`; else
    the one of the earliest ingest commit, and of those the one with the smallest key. So neither the
    order of the rows nor their partitions change the result.

    Args:
        documents: document_key, content_hash, ingest_commit bigint; those that need a verdict (see
            `pending`), one row each. A null content hash is equal to no other.
        earlier: document_key, content_hash, ingest_commit, status, representative_key: the newest
            verdict of every document that is still current, one row each; None for a first run. It
            may hold rows of `documents` too.

    Returns:
        One row for each of `documents`, and one for each earlier verdict that changed: document_key,
        status, reasons (`exact_duplicate`), method ('exact' for a copy, else null), representative_key
        (a kept document's own), similarity (1.0 for an exact copy, else null), cluster_key (shared by
        all copies, and the same whoever represents them).
    """
    asked = documents.select(
        "document_key",
        _cluster_key().alias("cluster_key"),
        F.col("ingest_commit").cast("bigint").alias("ingest_commit"),
        F.lit(True).alias("asked"),
        F.lit(None).cast("string").alias("old_status"),
        F.lit(None).cast("string").alias("old_representative"),
    )
    members = asked
    if earlier is not None:
        known = earlier.select(
            "document_key",
            _cluster_key().alias("cluster_key"),
            F.col("ingest_commit").cast("bigint").alias("ingest_commit"),
            F.lit(False).alias("asked"),
            F.col("status").alias("old_status"),
            F.col("representative_key").alias("old_representative"),
        )
        members = (
            asked.unionByName(known)
            .groupBy("document_key", "cluster_key")
            .agg(
                F.min("ingest_commit").alias("ingest_commit"),
                F.max("asked").alias("asked"),
                F.max("old_status").alias("old_status"),
                F.max("old_representative").alias("old_representative"),
            )
        )
    # An aggregate and a join instead of a window: a cluster of a million copies is never gathered in
    # one task to be sorted. False sorts before true: a survivor of before goes first.
    rank = F.struct(
        (~F.coalesce(F.col("old_status") == "kept", F.lit(False))).alias("is_new"),
        "ingest_commit",
        "document_key",
    )
    elected = members.groupBy("cluster_key").agg(
        F.min(rank).getField("document_key").alias("representative_key")
    )
    is_copy = F.col("document_key") != F.col("representative_key")
    changed = ~F.col("old_representative").eqNullSafe(F.col("representative_key"))
    return (
        members.join(elected, "cluster_key")
        .where(F.col("asked") | changed)
        .select(
            "document_key",
            F.when(is_copy, "rejected").otherwise("kept").alias("status"),
            F.when(is_copy, F.array(F.lit("exact_duplicate")))
            .otherwise(F.array().cast("array<string>"))
            .alias("reasons"),
            F.when(is_copy, F.lit("exact")).alias("method"),
            "representative_key",
            F.when(is_copy, F.lit(1.0)).alias("similarity"),
            "cluster_key",
        )
    )


def pending(documents: DataFrame, verdicts: DataFrame) -> DataFrame:
    """The documents whose cluster has to elect, or that were never looked at.

    Args:
        documents: the current documents, with document_key and whatever `apply` needs.
        verdicts: document_key, representative_key, cluster_key: the newest verdict of each document,
            also of documents that are no longer current.

    Returns:
        Rows of `documents`, all columns: those without a verdict, and every member of a cluster whose
        representative is no longer among the documents.
    """
    current = documents.select("document_key")
    known = verdicts.select("document_key", "representative_key", "cluster_key")
    known = known.join(current, "document_key", "left_semi")
    widowed = (
        known.join(
            current.withColumnRenamed("document_key", "representative_key"),
            "representative_key",
            "left_anti",
        )
        .select("cluster_key")
        .distinct()
    )
    settled = known.join(widowed, "cluster_key", "left_anti").select("document_key")
    return documents.join(settled, "document_key", "left_anti")


def _cluster_key() -> Column:
    """What all copies of a document share."""
    return F.coalesce(F.col("content_hash"), F.col("document_key"))
