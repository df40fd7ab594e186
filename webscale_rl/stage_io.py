"""What the runs of all stages share: a pass of the model for one, and the way of its rows to the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.flow import STAGE_TABLE
from webscale_rl.llm.completions import Pass


def append(ctx: Context, stage: str, rows: DataFrame) -> None:
    """Append a stage's rows under its recipe."""
    append_under(ctx, STAGE_TABLE[stage], rows, F.lit(ctx.recipes[stage]))


def append_under(ctx: Context, table: str, rows: DataFrame, recipe: Column) -> None:
    """Append rows of this run to a table, each under its recipe."""
    ctx.warehouse.append(table, rows.withColumn("recipe", recipe).withColumn("run", F.lit(ctx.run)))


def append_counting(ctx: Context, stage: str, rows: DataFrame) -> int:
    """Append a stage's rows; how many of them are kept."""
    seen = Observation()
    append(ctx, stage, rows.observe(seen, F.count_if(F.col("status") == "kept").alias("kept")))
    return int(seen.get["kept"] or 0)


def asking_pass(
    ctx: Context,
    stage: str,
    engine: str,
    request: Callable[[], Any],
    prefix: Any,
    finish: Callable[[DataFrame], DataFrame],
    write: Callable[[DataFrame], None],
) -> Pass:
    """A pass of the model for one stage or gate."""
    return Pass(
        stage=stage,
        engine=ctx.engines.get(engine),
        request=request,
        prefix=prefix,
        max_tokens=int(ctx.bodies[stage]["sampling"]["max_tokens"]),
        finish=finish,
        write=write,
    )
