"""The views over a warehouse: rejects, funnel, lineage, as lazy frames with the active recipes."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.flow import INPUT_KEY, STAGES, Flow
from webscale_rl.tables import TABLES
from webscale_rl.warehouse import Warehouse

VIEWS = ("rejects", "funnel", "lineage")


def active_recipes(warehouse: Warehouse) -> dict[str, str]:
    """The recipe in force of each stage and gate."""
    return {row["stage"]: row["recipe"] for row in warehouse.read("active").collect()}


def rejects(flow: Flow) -> DataFrame:
    """Every rejected row in force: stage, key, document_key, passage_key, reasons, recipe, run."""
    frames = []
    for stage in STAGES:
        rows = flow.rows(stage).where(F.col("status") == "rejected")
        key = "passage_key" if stage == "segment" else INPUT_KEY[stage]
        # A verdict table without a document key gets it from the table that its subjects are in.
        if stage in ("check", "decontaminate"):
            rows = rows.join(flow.read("pairs").select("pair_key", "passage_key", "document_key"), "pair_key")
        passage = "passage_key" if "passage_key" in rows.columns else F.lit(None).cast("string")
        frames.append(
            rows.select(
                F.lit(stage).alias("stage"),
                F.col(key).alias("key"),
                "document_key",
                (F.col(passage) if isinstance(passage, str) else passage).alias("passage_key"),
                "reasons",
                "recipe",
                "run",
            )
        )
    return reduce(DataFrame.unionByName, frames)


def stage_counts(flow: Flow, stage: str) -> DataFrame:
    """One row of the funnel for a stage.

    Returns:
        stage, rows_in, kept, rejected, pending, rows_out bigint; reasons map<string, bigint>. Input
        rows are counted by key, so rows_in = kept + rejected + pending; rows_out counts the kept
        output rows (segment gives several a document).
    """
    key = INPUT_KEY[stage]
    rows = flow.rows(stage).select(key, "status", "reasons")
    joined = rows if stage == "ingest" else flow.keys(stage).select(key).join(rows, key, "left")
    is_kept = F.col("status") == "kept"
    is_rejected = F.col("status") == "rejected"
    counts = joined.agg(
        F.count_distinct(key).alias("rows_in"),
        F.count_distinct(F.when(is_kept, F.col(key))).alias("kept"),
        F.count_distinct(F.when(is_rejected, F.col(key))).alias("rejected"),
        F.count_distinct(F.when(F.col("status").isNull(), F.col(key))).alias("pending"),
        F.count_if(is_kept).alias("rows_out"),
    )
    reasons = (
        joined.select(key, F.explode("reasons").alias("reason"))
        .groupBy("reason")
        .agg(F.count_distinct(key).alias("n"))
        .agg(F.map_from_entries(F.sort_array(F.collect_list(F.struct("reason", "n")))).alias("reasons"))
    )
    return counts.crossJoin(reasons).select(
        F.lit(stage).alias("stage"), "rows_in", "kept", "rejected", "pending", "rows_out", "reasons"
    )


def funnel(flow: Flow) -> DataFrame:
    """One row a stage, in their order (`stage_counts`, with its number)."""
    frames = [
        stage_counts(flow, stage).withColumn("number", F.lit(number)) for number, stage in enumerate(STAGES)
    ]
    return reduce(DataFrame.unionByName, frames)


def lineage(flow: Flow) -> DataFrame:
    """Each generated pair with what every stage said of it, from the source to the verdicts."""
    pairs = flow.rows("generate").alias("g")
    checked = flow.rows("check").select(
        "pair_key",
        F.col("status").alias("check_status"),
        F.col("reasons").alias("check_reasons"),
        "verdicts",
        "scores",
    )
    clean = flow.rows("decontaminate").select(
        "pair_key",
        F.col("status").alias("decontaminate_status"),
        F.col("reasons").alias("decontaminate_reasons"),
        "benchmark",
        "item",
    )
    documents = flow.documents().select(
        "document_key", "source", "source_id", "url", "licence", F.col("title").alias("title")
    )
    passages = flow.read("passages").select(
        "passage_key", F.col("text").alias("passage"), F.col("ordinal").alias("passage_ordinal")
    )
    return (
        pairs.withColumnRenamed("status", "generate_status")
        .withColumnRenamed("reasons", "generate_reasons")
        .withColumnRenamed("recipe", "generate_recipe")
        .withColumnRenamed("run", "generate_run")
        .join(checked, "pair_key", "left")
        .join(clean, "pair_key", "left")
        .join(documents, "document_key", "left")
        .join(passages.dropDuplicates(["passage_key"]), "passage_key", "left")
        .withColumn(
            "accepted",
            F.coalesce(F.col("decontaminate_status") == "kept", F.lit(False)),
        )
    )


def register(warehouse: Warehouse) -> None:
    """Make every table and view known to SQL by its bare name, as temporary views."""
    for name in TABLES:
        warehouse.read(name).createOrReplaceTempView(name)
    flow = Flow(warehouse.read, active_recipes(warehouse))
    rejects(flow).createOrReplaceTempView("rejects")
    funnel(flow).orderBy("number").drop("number").createOrReplaceTempView("funnel")
    lineage(flow).createOrReplaceTempView("lineage")
