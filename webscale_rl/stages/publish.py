"""qa_pairs: the accepted pairs as they stand, one row a pair with its whole lineage."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    MapType,
)

from webscale_rl.core.stage import Subject, kept
from webscale_rl.core.table import (
    SCORES,
    STRING,
    VERDICTS,
    Table,
)
from webscale_rl.runtime.flow import Flow


def accepted(flow: Flow, models: Mapping[str, str], recipes: Mapping[str, str]) -> DataFrame:
    """The pairs that every stage keeps, with the columns of the table `qa_pairs`.

    Args:
        models: per step that calls a model: its engine and model hash.
        recipes: per step: the recipe in force.
    """
    pairs = flow.made(Subject.PAIR).join(
        flow.stages.last.kept_keys(flow).select("pair_key"), "pair_key", "left_semi"
    )
    passages = flow.read("passages").select("passage_key", "title", F.col("text").alias("passage"))
    documents = kept(flow.documents()).select("document_key", "source", "source_id", "url", "licence")
    found = (
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
        .join(passages.dropDuplicates(["passage_key"]), "passage_key")
        .join(documents, "document_key")
    )
    for stage in flow.stages.of(Subject.PAIR):
        carried = [name for name in stage.carries if name in QA_PAIRS.column_names]
        if carried:
            found = found.join(kept(stage.rows(flow)).select("pair_key", *carried), "pair_key")
    return found.withColumn("models", _map(models)).withColumn("recipes", _map(recipes))


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


QA_PAIRS = Table(
    "qa_pairs",
    "the result: the accepted pairs, replaced in one commit",
    (
        ("pair_key", STRING, "key of the pair"),
        ("question", STRING, "the question"),
        ("answer", STRING, "the answer"),
        ("answer_type", STRING, "declared type of the answer"),
        ("quotation", STRING, "sentence of the passage that supports the answer"),
        ("domain", STRING, "domain of the passage"),
        ("persona", STRING, "persona that the question is for"),
        ("passage", STRING, "the passage"),
        ("title", STRING, "title of the document"),
        ("passage_key", STRING, "key of the passage"),
        ("document_key", STRING, "key of the document"),
        ("source", STRING, "source of the document"),
        ("source_id", STRING, "identifier in the source"),
        ("url", STRING, "address of the document"),
        ("licence", STRING, "licence of the document"),
        ("verdicts", VERDICTS, "per gate: true, or null where it did not run"),
        ("scores", SCORES, "per gate that has one: its score"),
        ("models", MapType(STRING, STRING), "per step that called one: engine and model hash"),
        ("recipes", MapType(STRING, STRING), "per step: the recipe in force"),
    ),
    (),
    ("pair_key",),
)
