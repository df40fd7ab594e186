"""Copies among the documents: exact ones by content hash, then near ones by verified MinHash-LSH.

The first to come in stays and stands for the others. Works upon what is there: new documents are compared
with the kept index, and the verdict on an old one never changes; only where a document that stood for others
is withdrawn does the next of its cluster take its place. `near_duplicates` has the method.
"""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field, model_validator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from udfs.dedup.bands import (
    ENTRY_DDL,
    SIGNATURE_DDL,
    BandSettings,
    regroup_function,
    signatures_function,
)
from udfs.dedup.election import VERDICT_DDL
from webscale_rl.core.settings import Section
from webscale_rl.errors import InputError
from webscale_rl.stages.deduplicate.near import (
    NearSettings,
    Work,
    choose_bands,
    entry_partitions,
    fresh_node,
    near_verdicts,
    send_few,
)
from webscale_rl.text.clean import comparable_text

VERSION = 2

# What a verdict says beside its status.
VERDICT_COLUMNS = ("method", "representative_key", "linked_key", "similarity", "cluster_key")


class DeduplicateSettings(Section):
    """How copies are recognised; the defaults are those of conf/stages/deduplicate.yml."""

    method: Literal["exact", "near"] = Field(
        default="near", description="exact: the same content hash; near: the same or a similar text"
    )
    threshold: float = Field(default=0.8, gt=0.0, le=1.0, description="Jaccard similarity of near duplicates")
    shingle_size: int = Field(default=5, ge=1, le=100, description="tokens per shingle")
    bands: int | None = Field(default=None, ge=1, le=1000, description="null: chosen for the threshold")
    rows: int | None = Field(default=None, ge=1, le=1000, description="null: chosen for the threshold")
    chain: bool = Field(default=True, description="whether a chain of similar documents makes a copy")

    @model_validator(mode="after")
    def _both_or_neither(self) -> DeduplicateSettings:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("bands and rows: give both, or neither to have them chosen for the threshold")
        return self

    def near(self) -> NearSettings:
        """What near duplicates are looked for with, bands and rows chosen where they are not given."""
        bands, rows = self.bands, self.rows
        if bands is None or rows is None:
            bands, rows = choose_bands(self.threshold)
        return NearSettings(self.threshold, BandSettings(self.shingle_size, bands, rows), self.chain)


def find_duplicates(
    frame: DataFrame,
    key: str = "key",
    text: str = "text",
    order: str | None = None,
    settings: DeduplicateSettings | None = None,
    work: Work | None = None,
) -> DataFrame:
    """Find exact and near duplicates in any DataFrame of texts.

    Runs Spark jobs at once and reads the frame twice. The verdicts do not depend on the order of the rows,
    the partitions or the number of cores.

    Args:
        frame: a column of distinct keys (any type that casts to string) and one of texts. Texts that
            differ only in their Unicode normal form or in soft hyphens count as the same.
        order: a column of whole numbers. The copy with the smallest number is kept; among equal numbers, the
            one with the smallest key.
        settings: None for the defaults.
        work: how intermediate frames are kept, and where the figures of the steps go.

    Returns:
        One row per row of ``frame``: the key column; status (kept, rejected); reasons (exact_duplicate,
        near_duplicate); method (exact, near; null when kept); representative_key (the document that is kept;
        itself when kept); linked_key and similarity (the document that it is a copy of, and their exact
        Jaccard similarity: the representative, or its most similar neighbour in the chain that leads there;
        null when kept); cluster_key (shared by all copies).

    Raises:
        InputError: no such column.
    """
    settings = settings or DeduplicateSettings()
    work = work or Work()
    for name in (key, text, order):
        if name is not None and name not in frame.columns:
            raise InputError(f"deduplicate: no column {name!r}; there are {', '.join(frame.columns)}")
    age = F.col(order) if order is not None else F.lit(0)
    keyed = frame.select(
        F.xxhash64(F.col(key).cast("string")).alias("id"),
        F.col(key).cast("string").alias("key"),
        age.cast("bigint").alias("age"),
        _comparable(F.col(text)).alias("text"),
    )
    how = settings.near() if settings.method == "near" else None
    with work.step("signatures") as seen:
        signed = keyed.mapInArrow(signatures_function(how.bands if how else None), SIGNATURE_DDL)
        documents = work.keep_counting(signed, "signatures", seen, documents=F.count(F.lit(1)))
    count = seen["documents"]
    documents = link_copies(documents, work)
    near = None
    if how is not None:
        leaders = documents.where("linked_key is null")
        partitions = entry_partitions(frame, count, how.bands.bands)
        entries = leaders.where("bands is not null").mapInArrow(
            regroup_function(how.bands.bands, partitions, fresh=True), ENTRY_DDL
        )
        nodes = leaders.select(*fresh_node(F.col("key"), F.col("age")))
        near = near_verdicts(keyed.select("id", "text"), lambda ids, _: nodes, entries, partitions, how, work)
    verdicts = verdicts_of(documents, near, work)
    original = frame.schema[key].dataType
    return verdicts.withColumn("key", F.col("key").cast(original)).withColumnRenamed("key", key)


def _comparable(text: Column) -> Column:
    """A text as ingest would have it where that matters for comparing: NFC, and nothing that is invisible.

    The kernel takes the bytes as they are, so that kept indexes stand; what it reads is made alike here. Only
    texts that are not all ASCII are looked at.
    """

    def made_alike(texts: pd.Series) -> pd.Series:
        return texts.map(lambda one: None if one is None else comparable_text(one))

    alike: Column = pandas_udf(made_alike, "string")(F.when(F.rlike(text, F.lit(r"[^\x00-\x7F]")), text))  # type: ignore[call-overload]
    return F.coalesce(alike, text)


def apply(documents: DataFrame, settings: DeduplicateSettings) -> DataFrame:
    """The stage on a frame, without what other documents there are.

    Args:
        documents: document_key, text and, where there is one, ingest_commit.

    Returns:
        document_key, status, reasons, method, representative_key, linked_key, similarity, cluster_key.
    """
    order = "ingest_commit" if "ingest_commit" in documents.columns else None
    return find_duplicates(documents, "document_key", "text", order, settings)


def standing(documents: DataFrame, verdicts: DataFrame) -> DataFrame:
    """Documents and verdicts side by side.

    Args:
        documents: the current ones: document_key, content_hash, ingest_commit.
        verdicts: the newest of each document, also of documents that are no longer current: these columns,
            status and `VERDICT_COLUMNS`.

    Returns:
        document_key, content_hash, ingest_commit, is_current boolean, and of the verdict (null where there
        is none) status and `VERDICT_COLUMNS`.
    """
    current = documents.select(
        "document_key",
        F.col("content_hash").alias("_hash"),
        F.col("ingest_commit").alias("_commit"),
        F.lit(True).alias("is_current"),
    )
    known = verdicts.select("document_key", "content_hash", "ingest_commit", "status", *VERDICT_COLUMNS)
    return current.join(known, "document_key", "full_outer").select(
        "document_key",
        F.coalesce("content_hash", "_hash").alias("content_hash"),
        F.coalesce("ingest_commit", "_commit").alias("ingest_commit"),
        F.coalesce("is_current", F.lit(False)).alias("is_current"),
        *("status", *VERDICT_COLUMNS),
    )


def fresh(standing: DataFrame) -> DataFrame:
    """Of `standing`, the current documents that were never looked at."""
    return standing.where(F.col("is_current") & F.col("status").isNull())


def known(standing: DataFrame) -> DataFrame:
    """Of `standing`, the current documents with a verdict."""
    return standing.where(F.col("is_current") & F.col("status").isNotNull())


def gone(standing: DataFrame) -> DataFrame:
    """Of `standing`, those that stood for others and are no longer current."""
    return standing.where(~F.col("is_current") & (F.col("status") == "kept"))


def orphans(standing: DataFrame) -> DataFrame:
    """Of `standing`, the current members of clusters whose representative is no longer current."""
    left = gone(standing).select(F.col("document_key").alias("representative_key"))
    clusters = known(standing).join(left, "representative_key", "left_semi").select("cluster_key")
    return known(standing).join(clusters.distinct(), "cluster_key", "left_semi")


def pending(standing: DataFrame) -> DataFrame:
    """Of `standing`, the documents that the stage has to judge."""
    return fresh(standing).unionByName(orphans(standing))


def succession(orphans: DataFrame) -> DataFrame:
    """The next of each cluster takes the place of the one that is gone.

    Args:
        orphans: document_key, content_hash, ingest_commit, method, linked_key, similarity, cluster_key: the
            verdicts on the members that are left.

    Returns:
        The same rows with their new status, reasons, representative_key and, for the one that now
        stays, no link. What the others were found to be copies of is unchanged.
    """
    heirs = orphans.groupBy("cluster_key").agg(
        F.min(F.struct("ingest_commit", "document_key")).getField("document_key").alias("heir")
    )
    stays = F.col("document_key") == F.col("heir")
    method = F.when(~stays, F.col("method"))
    return orphans.join(heirs, "cluster_key").select(
        *("document_key", "content_hash", "ingest_commit"),
        F.when(stays, "kept").otherwise("rejected").alias("status"),
        reasons(method).alias("reasons"),
        method.alias("method"),
        F.col("heir").alias("representative_key"),
        F.when(~stays, F.col("linked_key")).alias("linked_key"),
        F.when(~stays, F.col("similarity")).alias("similarity"),
        "cluster_key",
    )


def copies_of_known(asked: DataFrame, known: DataFrame, count: int) -> DataFrame:
    """Verdicts on documents whose content one with a verdict has.

    Args:
        asked: document_key, content_hash, ingest_commit; so many.
        known: document_key, content_hash, ingest_commit, method, representative_key, cluster_key.

    Returns:
        For the copies among ``asked`` their columns and the stage's.
    """
    asked_hashes = send_few(asked.select("content_hash").distinct(), count)
    shared = known.join(asked_hashes, "content_hash", "left_semi")
    first = F.struct(
        (F.coalesce("method", F.lit("")) == "exact").alias("is_copy"),
        *("ingest_commit", "document_key", "representative_key", "cluster_key"),
    )
    leaders = shared.groupBy("content_hash").agg(F.min(first).alias("first"))
    return asked.join(leaders, "content_hash").select(
        *("document_key", "content_hash", "ingest_commit"),
        F.lit("rejected").alias("status"),
        F.array(F.lit("exact_duplicate")).alias("reasons"),
        F.lit("exact").alias("method"),
        F.col("first.representative_key").alias("representative_key"),
        F.col("first.document_key").alias("linked_key"),
        F.lit(1.0).alias("similarity"),
        F.col("first.cluster_key").alias("cluster_key"),
    )


def link_copies(documents: DataFrame, work: Work) -> DataFrame:
    """Link documents to the one with the same content that comes first; a step of the work, "exact".

    Args:
        documents: key, age, content_hash and any other columns. A null hash is equal to no other.

    Returns:
        The same with linked_key: null for a document without copies, and for the one that comes first.
    """
    # An aggregate and a join instead of a window: a cluster of a million copies is never gathered in one
    # task to be sorted.
    groups = (
        documents.where(F.col("content_hash").isNotNull())
        .groupBy("content_hash")
        .agg(F.min(F.struct("age", "key")).alias("first"), F.count("*").alias("n"))
        .where("n > 1")
    )
    with work.step("exact") as seen:
        groups = work.keep_counting(
            groups, "copies", seen, groups=F.count(F.lit(1)), rejected=F.sum(F.col("n") - 1)
        )
    if not seen["rejected"]:
        return documents.withColumn("linked_key", F.lit(None).cast("string"))
    first = send_few(groups.select("content_hash", F.col("first.key").alias("linked_key")), seen["groups"])
    return documents.join(first, "content_hash", "left").withColumn(
        "linked_key", F.when(F.col("linked_key") != F.col("key"), F.col("linked_key"))
    )


def verdicts_of(
    asked: DataFrame, near: DataFrame | None, work: Work, carry: tuple[str, ...] = ()
) -> DataFrame:
    """Everyone's verdict from that of the few.

    Args:
        asked: key, linked_key: of which document it is an exact copy, or null (see `link_copies`).
        carry: other columns of ``asked`` that the verdicts are to have.
        near: `udfs.dedup.election.VERDICT_DDL`; None where near duplicates were not looked for.
        work: what it counted.
    """
    asked = asked.select(
        *("key", *carry),
        F.col("linked_key").alias("first"),
        F.coalesce("linked_key", "key").alias("leader"),
    )
    if near is None:
        near = asked.sparkSession.createDataFrame([], VERDICT_DDL)
    # What holds for the first of some exact copies holds for all of them, but for what they are copies of.
    led = near.drop("bridged").withColumnRenamed("key", "leader")
    is_copy = F.col("first").isNotNull()
    method = F.when(is_copy, "exact").when(F.col("status") == "rejected", "near")
    return asked.join(send_few(led, work.counted("clusters", "documents")), "leader", "left").select(
        "key",
        F.when(is_copy, "rejected").otherwise(F.coalesce("status", F.lit("kept"))).alias("status"),
        reasons(method).alias("reasons"),
        method.alias("method"),
        F.coalesce("representative_key", "leader").alias("representative_key"),
        F.coalesce("first", "linked_key").alias("linked_key"),
        F.when(is_copy, 1.0).otherwise(F.col("similarity")).alias("similarity"),
        F.coalesce("cluster_key", "leader").alias("cluster_key"),
        *carry,
    )


def reasons(method: Column) -> Column:
    """The reasons of a verdict by its method."""
    return F.when(method.isNull(), F.array().cast("array<string>")).otherwise(
        F.array(F.concat(method, F.lit("_duplicate")))
    )
