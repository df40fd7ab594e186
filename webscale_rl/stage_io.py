"""What the runs of all stages share: a pass of the model for one, and the way of its rows to the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.flow import STAGE_TABLE
from webscale_rl.llm.completions import Pass


def append(ctx: Context, stage: str, rows: DataFrame, table: str | None = None) -> None:
    """Append a stage's (or a gate's) rows under its recipe."""
    marked = rows.withColumn("recipe", F.lit(ctx.recipes[stage])).withColumn("run", F.lit(ctx.run))
    ctx.warehouse.append(table or STAGE_TABLE[stage], marked)


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
