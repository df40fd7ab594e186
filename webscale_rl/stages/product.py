"""qa_pairs: the accepted pairs as they stand, one row a pair with its whole lineage."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.flow import Flow, kept


def accepted(flow: Flow, models: Mapping[str, str], recipes: Mapping[str, str]) -> DataFrame:
    """The pairs that every stage keeps, with the columns of the table `qa_pairs`.

    Args:
        models: per step that calls a model: its engine and model hash.
        recipes: per step: the recipe in force.
    """
    pairs = flow.inputs("decontaminate").join(
        kept(flow.rows("decontaminate")).select("pair_key"), "pair_key", "left_semi"
    )
    checked = kept(flow.rows("check")).select("pair_key", "verdicts", "scores")
    passages = flow.read("passages").select("passage_key", "title", F.col("text").alias("passage"))
    documents = kept(flow.documents()).select("document_key", "source", "source_id", "url", "licence")
    return (
        pairs.select(
            "pair_key",
            "question",
            "answer",
            "answer_type",
            "quotation",
            "domain",
            "persona",
            "passage_key",
            "document_key",
        )
        .join(checked, "pair_key")
        .join(passages.dropDuplicates(["passage_key"]), "passage_key")
        .join(documents, "document_key")
        .withColumn("models", _map(models))
        .withColumn("recipes", _map(recipes))
    )


def fingerprint(rows: DataFrame) -> DataFrame:
    """One row that tells whether two states of the product are the same: count and sum of hashes."""
    columns = (
        "pair_key",
        "question",
        "answer",
        "document_key",
        "url",
        "licence",
        F.to_json("recipes"),
        F.to_json("verdicts"),
    )
    # Each hash is cut to 40 bits, so that the sum over a billion rows stays within a long.
    return rows.select(F.xxhash64(*columns).bitwiseAND((1 << 40) - 1).alias("h")).agg(
        F.count("*").alias("rows"), F.coalesce(F.sum("h"), F.lit(0)).alias("sum")
    )


def _map(values: Mapping[str, str]) -> Column:
    pieces = [F.lit(piece) for item in sorted(values.items()) for piece in item]
    return F.create_map(*pieces) if pieces else F.create_map().cast("map<string,string>")
