"""The way of a stage's rows to its tables."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from webscale_rl.core.stage import Stage
from webscale_rl.runtime.context import Context


def append(context: Context, stage: Stage, rows: DataFrame) -> None:
    """Append a stage's rows under its recipe."""
    append_under(context, stage.table.name, rows, F.lit(context.recipes[stage.name]))


def append_under(context: Context, table: str, rows: DataFrame, recipe: Column) -> None:
    """Append rows of this run to a table, each under its recipe."""
    context.warehouse.append(table, rows.withColumn("recipe", recipe).withColumn("run", F.lit(context.run)))


def append_counting(context: Context, stage: Stage, rows: DataFrame) -> int:
    """Append a stage's rows; how many of them are kept."""
    seen = Observation()
    append(context, stage, rows.observe(seen, F.count_if(F.col("status") == "kept").alias("kept")))
    return int(seen.get["kept"] or 0)
