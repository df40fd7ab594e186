"""The views over a warehouse: rejects, funnel, lineage, as lazy frames with the active recipes."""

from __future__ import annotations

import re
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.stage import KEYS, Chain, Subject
from webscale_rl.runtime.flow import Flow
from webscale_rl.storage.warehouse import Warehouse


def active_recipes(warehouse: Warehouse) -> dict[str, str]:
    """The recipe in force of each stage and gate."""
    return {row["stage"]: row["recipe"] for row in warehouse.read("active").collect()}


def rejects(flow: Flow) -> DataFrame:
    """Every rejected row in force: stage, key, document_key, passage_key, reasons, recipe, run."""
    frames = []
    for stage in flow.stages:
        rows = stage.rows(flow).where(F.col("status") == "rejected")
        # A verdict without the key of its document gets it from the table that its subject comes from.
        if "document_key" not in rows.columns:
            made = flow.read(stage.subject.table)
            own = stage.subject.key
            keys = [key for key in KEYS if key in made.columns and (key == own or key not in rows.columns)]
            rows = rows.join(made.select(*keys).dropDuplicates([own]), own)
        passage = F.col("passage_key") if "passage_key" in rows.columns else F.lit(None).cast("string")
        frames.append(
            rows.select(
                F.lit(stage.name).alias("stage"),
                F.col(stage.output.key).alias("key"),
                "document_key",
                passage.alias("passage_key"),
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
    key = flow.stages.get(stage).subject.key
    rows = flow.rows(stage).select(key, "status", "reasons")
    # The first stage has no input beside its rows.
    first = flow.stages.before(stage) is None
    joined = rows if first else flow.keys(stage).select(key).join(rows, key, "left")
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
        stage_counts(flow, stage).withColumn("number", F.lit(number))
        for number, stage in enumerate(flow.stages.names)
    ]
    return reduce(DataFrame.unionByName, frames)


def lineage(flow: Flow) -> DataFrame:
    """Each generated pair with what every stage said of it, from the source to the verdicts."""
    made_by = flow.stages.source_of(Subject.PAIR)
    found = made_by.rows(flow)
    for name in ("status", "reasons", "recipe", "run"):
        found = found.withColumnRenamed(name, f"{made_by.name}_{name}")
    judges = [stage for stage in flow.stages.of(Subject.PAIR) if stage is not made_by]
    for stage in judges:
        said = stage.rows(flow).select(
            "pair_key",
            F.col("status").alias(f"{stage.name}_status"),
            F.col("reasons").alias(f"{stage.name}_reasons"),
            *stage.carries,
        )
        found = found.join(said, "pair_key", "left")
    documents = flow.documents().select("document_key", "source", "source_id", "url", "licence", "title")
    passages = flow.read("passages").select(
        "passage_key", F.col("text").alias("passage"), F.col("ordinal").alias("passage_ordinal")
    )
    accepted = flow.stages.last.kept_keys(flow).select("pair_key", F.lit(True).alias("accepted"))
    return (
        found.join(accepted, "pair_key", "left")
        .join(documents, "document_key", "left")
        .join(passages.dropDuplicates(["passage_key"]), "passage_key", "left")
        .withColumn("accepted", F.coalesce("accepted", F.lit(False)))
    )


#: The views by name, each a function of the flow.
VIEWS = {
    "rejects": rejects,
    "funnel": lambda flow: funnel(flow).orderBy("number").drop("number"),
    "lineage": lineage,
}


def register(warehouse: Warehouse, stages: Chain, query: str) -> None:
    """Make the tables and views that a query names known to SQL by their bare names, as temporary views.

    A query that names none of them (`SHOW VIEWS`) finds all.
    """
    names = (*warehouse.tables, *VIEWS)
    named = [name for name in names if re.search(rf"\b{name}\b", query, re.IGNORECASE)] or names
    for name in named:
        if name not in VIEWS:
            warehouse.read(name).createOrReplaceTempView(name)
    if any(name in VIEWS for name in named):
        flow = Flow(stages, warehouse.read, active_recipes(warehouse))
        for name, view in VIEWS.items():
            if name in named:
                view(flow).createOrReplaceTempView(name)
