"""The deduplicate stage at its public functions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from chispa import assert_df_equality
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from webscale_rl.stages import deduplicate

DOCUMENT = "document_key string, content_hash string, ingest_commit bigint"
VERDICT = (
    "document_key string, status string, reasons array<string>, method string, "
    "representative_key string, similarity double, cluster_key string"
)


def documents(spark: SparkSession, *rows: tuple[str, str | None, int]) -> DataFrame:
    return spark.createDataFrame(list(rows), DOCUMENT)


def kept(key: str, cluster: str) -> tuple[object, ...]:
    return (key, "kept", [], None, key, None, cluster)


def copy(key: str, of: str, cluster: str) -> tuple[object, ...]:
    return (key, "rejected", ["exact_duplicate"], "exact", of, 1.0, cluster)


def assert_verdicts(spark: SparkSession, found: DataFrame, *rows: tuple[object, ...]) -> None:
    expected = spark.createDataFrame(list(rows), VERDICT)
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


def as_earlier(verdicts: DataFrame, of: DataFrame) -> DataFrame:
    """The verdicts as a later run is given them."""
    return verdicts.join(of, "document_key").select(
        "document_key", "content_hash", "ingest_commit", "status", "representative_key", "cluster_key"
    )


def test_the_earliest_commit_and_then_the_smallest_key_stays(spark: SparkSession) -> None:
    given = documents(spark, ("a", "x", 2), ("c", "x", 1), ("b", "x", 1), ("d", "y", 1))
    assert_verdicts(
        spark,
        deduplicate.apply(given),
        copy("a", "b", "x"),
        copy("c", "b", "x"),
        kept("b", "x"),
        kept("d", "y"),
    )


def test_a_null_hash_is_equal_to_none(spark: SparkSession) -> None:
    given = documents(spark, ("a", None, 1), ("b", None, 1))
    assert_verdicts(spark, deduplicate.apply(given), kept("a", "a"), kept("b", "b"))


def test_no_documents_give_no_verdicts(spark: SparkSession) -> None:
    given = documents(spark)
    assert deduplicate.apply(given).count() == 0
    assert deduplicate.pending(given, deduplicate.apply(given)).count() == 0


def test_a_survivor_stays_when_an_older_copy_comes_late(spark: SparkSession) -> None:
    first = documents(spark, ("m", "x", 5), ("n", "x", 5))
    late = documents(spark, ("a", "x", 1), ("z", "y", 6))
    earlier = as_earlier(deduplicate.apply(first), first)
    everything = first.unionByName(late)
    new = deduplicate.pending(everything, earlier)
    assert_df_equality(new, late, ignore_row_order=True)
    assert_verdicts(spark, deduplicate.apply(new, earlier), copy("a", "m", "x"), kept("z", "y"))


def test_a_withdrawn_survivor_is_followed_by_the_next(spark: SparkSession) -> None:
    first = documents(spark, ("m", "x", 1), ("n", "x", 2), ("o", "x", 3), ("p", "y", 1))
    verdicts = as_earlier(deduplicate.apply(first), first)
    current = first.where("document_key <> 'm'").unionByName(documents(spark, ("a", "x", 4)))
    # Another change first: the members of the cluster and the new document, and nobody else.
    asked = deduplicate.pending(current, verdicts)
    assert {row.document_key for row in asked.collect()} == {"a", "n", "o"}
    still = verdicts.where("document_key <> 'm'")
    expected = [kept("n", "x"), copy("o", "n", "x"), copy("a", "n", "x")]
    assert_verdicts(spark, deduplicate.apply(asked, still), *expected)
    # Also when only the new document is asked about: changed verdicts of others come with it.
    alone = current.where("document_key = 'a'")
    assert_verdicts(spark, deduplicate.apply(alone, still), *expected)


def test_a_second_run_has_nothing_to_do(spark: SparkSession) -> None:
    given = documents(spark, ("a", "x", 2), ("b", "x", 1), ("c", "y", 1))
    verdicts = as_earlier(deduplicate.apply(given), given)
    assert deduplicate.pending(given, verdicts).count() == 0
    assert deduplicate.apply(given.limit(0), verdicts).count() == 0


def test_withdrawing_a_copy_changes_nothing(spark: SparkSession) -> None:
    given = documents(spark, ("a", "x", 1), ("b", "x", 1))
    verdicts = as_earlier(deduplicate.apply(given), given)
    assert deduplicate.pending(given.where("document_key = 'a'"), verdicts).count() == 0


def test_partitions_and_order_change_nothing(spark: SparkSession) -> None:
    given = spark.range(300).select(
        F.sha2(F.col("id").cast("string"), 256).alias("document_key"),
        (F.col("id") % 40).cast("string").alias("content_hash"),
        (F.col("id") % 3).alias("ingest_commit"),
    )
    one = deduplicate.apply(given.coalesce(1))
    many = deduplicate.apply(given.repartition(7, F.rand(5)))
    assert_df_equality(one, many, ignore_row_order=True)
    assert one.where("status = 'kept'").count() == 40
    assert one.count() == 300


def test_the_configured_method_is_exact_and_no_other() -> None:
    section = yaml.safe_load(Path("conf/stages/deduplicate.yml").read_text(encoding="utf-8"))
    assert deduplicate.DeduplicateSettings(**section).method == "exact"
    with pytest.raises(ValidationError, match="exact"):
        deduplicate.DeduplicateSettings(method="minhash")  # type: ignore[arg-type]


# The digest of the verdicts below by the version of the stage. Another digest means that the outcome of
# the stage changed: then its VERSION must change too, or old verdicts would stand.
GOLDEN = {1: "42397e9047d5f81dfc4cb2d828257beadaac246eda0f11d7a717fd1962e04571"}


def test_the_outcome_belongs_to_the_version(spark: SparkSession) -> None:
    given = documents(
        spark, ("a", "x", 2), ("b", "x", 1), ("c", "y", 1), ("d", None, 1), ("e", "y", 1), ("f", "z", 1)
    )
    found = deduplicate.apply(given).orderBy("document_key").collect()
    digest = hashlib.sha256(json.dumps([row.asDict() for row in found], sort_keys=True).encode())
    assert GOLDEN[deduplicate.VERSION] == digest.hexdigest()
