"""What a pass would send, and a pass on a frame without a warehouse."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from udfs.engines.completion import REPLY_FIELDS
from webscale_rl.llm.engines import Engine
from webscale_rl.llm.placement import place
from webscale_rl.llm.requests import request_id
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.passes.decided import stands
from webscale_rl.runtime.passes.model_pass import Pass


def finished_completions(ctx: Context, engine: Engine) -> DataFrame:
    """The completions that are outcomes for an engine as it is now.

    A row left by a fault that was being moved is none, nor is a fault that was decided by other settings.
    """
    return ctx.warehouse.read("completions").where(stands(engine))


def estimate(subjects: DataFrame, pass_: Pass, completions: DataFrame) -> tuple[int, int, int]:
    """What a pass would send: (rows, requests without a completion, estimated tokens of these).

    Four characters a token and the longest reply: an upper bound for most English text.
    """
    marked = _marked(subjects, pass_, completions)
    requests = marked.groupBy("request_id", "_done", "_tokens").agg(F.count("*").alias("rows"))
    row = requests.agg(
        F.coalesce(F.sum("rows"), F.lit(0)).alias("rows"),
        F.count_if(~F.col("_done")).alias("requests"),
        F.coalesce(F.sum(F.when(~F.col("_done"), F.col("_tokens"))), F.lit(0)).alias("tokens"),
    ).collect()[0]
    return int(row["rows"]), int(row["requests"]), int(row["tokens"])


def complete_directly(subjects: DataFrame, pass_: Pass) -> DataFrame:
    """Rows with their completions as one lazy frame, nothing kept: for a notebook's small frame.

    Every action on the result calls the model again.
    """
    asked = subjects.withColumn("request", pass_.request())
    asked = asked.withColumn("request_id", request_id(F.col("request")))
    placement = place(subjects.sparkSession, pass_.engine)
    replies = placement.call(asked.select("request_id", "request").dropDuplicates(["request_id"]))
    joined = asked.drop("request").join(
        replies.select("request_id", F.struct(*REPLY_FIELDS).alias("completion")), "request_id"
    )
    return pass_.finish(joined)


def _marked(subjects: DataFrame, pass_: Pass, completions: DataFrame) -> DataFrame:
    """The rows with request_id, done (a completion exists) and estimated tokens."""
    asked = subjects.withColumn("_request", pass_.request())
    asked = asked.withColumn("request_id", request_id(F.col("_request"))).withColumn(
        "_tokens",
        F.ceil(F.length("_request") / 4).cast("long") + F.lit(pass_.max_tokens),
    )
    known = completions.select("request_id", F.lit(True).alias("_done")).dropDuplicates(["request_id"])
    return (
        asked.drop("_request")
        .join(known, "request_id", "left")
        .withColumn("_done", F.coalesce("_done", F.lit(False)))
    )
