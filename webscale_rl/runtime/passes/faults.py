"""What becomes of requests that were not answered: attempts, and the request that kills the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from udfs.engines.completion import FIELDS
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.passes.decided import decided_by, is_outcome, stands

if TYPE_CHECKING:
    from webscale_rl.runtime.passes.model_pass import Pass


def record_attempts(ctx: Context, pass_: Pass, requests: DataFrame, error: str) -> None:
    """Append one attempt a request.

    Args:
        requests: request_id string, and error string where each has its own.
        error: of all of them otherwise.
    """
    earlier = ctx.warehouse.read("attempts").groupBy("request_id").agg(F.max("number").alias("before"))
    rows = requests.join(earlier, "request_id", "left").select(
        "request_id",
        F.lit(pass_.stage).alias("stage"),
        F.lit(ctx.recipes.get(pass_.stage)).alias("recipe"),
        (F.coalesce("before", F.lit(0)) + 1).alias("number"),
        (F.col("error") if "error" in requests.columns else F.lit(error[:1000])).alias("error"),
        F.current_timestamp().alias("failed_at"),
        F.lit(ctx.run).alias("run"),
    )
    ctx.warehouse.append("attempts", rows)


def engine_fault(mine: DataFrame) -> str | None:
    """What is wrong with the engine, by the completions of a chunk; None where nothing is."""
    return mine.where(F.col("fault") == "engine").agg(F.min("error")).collect()[0][0]


def move_faults(ctx: Context, pass_: Pass, mine: DataFrame, number: int) -> None:
    """Faults that are no outcome belong to `attempts`: their rows stay pending."""
    record_attempts(ctx, pass_, mine.where(~is_outcome()).select("request_id", "error"), "")
    ctx.warehouse.execute(
        f"DELETE FROM {{completions}} WHERE run = {ctx.run} AND stage = '{pass_.stage}' "
        f"AND chunk = {number} AND fault != 'permanent'",
        completions="completions",
    )


def retire_faults(ctx: Context, pass_: Pass, asked: DataFrame) -> None:
    """Move permanent faults that other settings decided to `attempts`: their requests are asked again.

    Args:
        asked: request_id string of the requests of a pass.
    """
    faults = ctx.warehouse.read("completions").where((F.col("fault") == "permanent") & ~stands(pass_.engine))
    if faults.isEmpty():
        return
    retired = faults.join(asked.select("request_id").distinct(), "request_id", "left_semi")
    retired = retired.select("request_id", "fault", "error").localCheckpoint()
    if not retired.isEmpty():
        record_attempts(ctx, pass_, retired, "")
        ctx.warehouse.delete("completions", retired.select("request_id", "fault"))


def give_up(ctx: Context, pass_: Pass, rows: DataFrame, error: str, number: int) -> None:
    """A request that fails alone while the engine answers others gets a permanent fault.

    Args:
        rows: request_id string of the request, any number of rows.
        number: number of the chunk that its completion is to have.
    """
    known = {"finish_reason": "error", "fault": "permanent", "error": f"kills_engine: {error[:500]}"}
    columns = [F.lit(known.get(field.name)).cast(field.sql).alias(field.name) for field in FIELDS[1:]]
    given_up = (
        rows.select("request_id")
        .distinct()
        .select(
            "request_id",
            F.lit(pass_.stage).alias("stage"),
            F.lit(number).alias("chunk"),
            F.lit(pass_.engine.name).alias("engine"),
            F.lit(pass_.engine.identity.get("model")).alias("model"),
            *columns,
            decided_by(pass_.engine, F.lit(known["fault"]), F.lit(known["error"])).alias("decided_by"),
            F.current_timestamp().alias("finished_at"),
            F.lit(ctx.run).alias("run"),
        )
    )
    ctx.warehouse.append("completions", given_up)
    ctx.progress.warn(f"{pass_.stage}: one request kills the engine and is rejected ({error})")
