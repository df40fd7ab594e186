"""One pass of a language model over pending rows: requests in chunks, replies kept, rows written.

The costly thing is a call. So the requests that a pass needs are looked up in `completions` first, only
missing ones go to the engine, each chunk's replies are appended before anything is made of them, and
what is made of them (the stage's rows) can be replayed at will. Killed anywhere, at most the chunk in
flight is called again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from udfs.engines import COMPLETION_DDL, engine_function
from udfs.parsing import PARSE_REASONS
from webscale_rl.context import Context
from webscale_rl.errors import BudgetReachedError, EngineFailedError, UnparsableRepliesError
from webscale_rl.faultpoints import reached
from webscale_rl.llm.engines import Engine
from webscale_rl.llm.messages import request_id
from webscale_rl.llm.probing import why_silent
from webscale_rl.session import parallelism
from webscale_rl.sparkerrors import SPARK_ERRORS, first_line

# A stage whose replies are mostly unreadable is stopped after so many of them.
PROBE_REPLIES = 200
MAX_UNPARSED_SHARE = 0.5
# After so many failed jobs in a row, the engine is asked whether it works at all.
MAX_FAILURES_IN_A_ROW = 8
MAX_CHUNKS = 10_000
# Columns of the staged requests that are no part of a stage's rows.
_WORKING = ("_done", "_tokens", "_prefix", "_chunk", "_position")

REPLY_FIELDS = (
    "text",
    "finish_reason",
    "error",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "mean_logprob",
    "min_logprob",
    "choice_logprobs",
)


@dataclass(frozen=True)
class Pass:
    """One pass of a model over rows.

    Attributes:
        stage: name of the stage or gate, for `completions` and `attempts`.
        engine: the engine to ask.
        request: builds the canonical JSON of each row's request from the row's columns.
        prefix: what rows share at the start of their prompts; requests are sorted by it.
        max_tokens: longest reply.
        finish: rows with the column `completion` in, the stage's rows out.
        write: appends the stage's rows.
    """

    stage: str
    engine: Engine
    request: Callable[[], Column]
    prefix: Column
    max_tokens: int
    finish: Callable[[DataFrame], DataFrame]
    write: Callable[[DataFrame], None]


@dataclass
class Outcome:
    """What a pass did."""

    rows: int = 0
    kept: int = 0
    requests: int = 0
    tokens: int = 0
    failed: int = 0


@dataclass
class _State:
    outcome: Outcome = field(default_factory=Outcome)
    replies: int = 0
    unparsed: int = 0
    item: int = 0
    failures_in_a_row: int = 0
    answered: bool = False


def finished_completions(ctx: Context) -> DataFrame:
    """The completions that are outcomes; a row left by a fault that was being moved is none."""
    found = ctx.warehouse.read("completions")
    return found.where(F.coalesce(F.col("fault"), F.lit("")) != "passing")


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
    replies = _call(asked.select("request_id", "request").dropDuplicates(["request_id"]), pass_)
    joined = asked.drop("request").join(
        replies.select("request_id", F.struct(*REPLY_FIELDS).alias("completion")), "request_id"
    )
    return pass_.finish(joined)


def run_pass(ctx: Context, pass_: Pass, subjects: DataFrame) -> Outcome:
    """Have every row's request answered and its stage row written.

    Args:
        subjects: the pending rows, with every column that request and rows are made from.

    Raises:
        BudgetReachedError: a limit of the run; what is left stays pending.
        UnparsableRepliesError: most replies could not be read.
        EngineFailedError: the engine does not answer; nothing is rejected for it.
        OvertakenError: another run has taken the warehouse.
    """
    state = _State()
    total, requests, tokens = estimate(subjects, pass_, finished_completions(ctx))
    if total == 0:
        return state.outcome
    ctx.warehouse.claim("completions")
    ctx.progress.begin(pass_.stage, total)
    scratch = pass_.stage.replace(".", "_")
    staged = _stage_requests(ctx, pass_, subjects, scratch, tokens)
    reached("requests_written")
    try:
        if requests < total:
            answered = staged.where("_done").drop(*_WORKING)
            _write(ctx, pass_, _with_completions(answered, finished_completions(ctx)), state)
        chunks = (
            staged.where(~F.col("_done"))
            .groupBy("_chunk")
            .agg(F.max("_position").alias("requests"), F.sum("_tokens").alias("tokens"))
            .orderBy("_chunk")
            .collect()
        )
        for chunk in chunks:
            _run_chunk(
                ctx,
                pass_,
                staged.where((F.col("_chunk") == chunk["_chunk"]) & ~F.col("_done")),
                int(chunk["requests"]),
                int(chunk["tokens"]),
                state,
            )
    finally:
        ctx.progress.end()
    ctx.warehouse.drop_scratch(scratch)
    if state.failures_in_a_row and not state.answered:
        _require_engine(ctx, pass_, "every request failed")
    return state.outcome


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


def _stage_requests(ctx: Context, pass_: Pass, subjects: DataFrame, scratch: str, tokens: int) -> DataFrame:
    """Write the pending rows once, in chunks, sorted by prefix, each request with its position."""
    chunks = max(1, min(MAX_CHUNKS, math.ceil(tokens / pass_.engine.settings.chunk_tokens)))
    # Equal requests get the same prefix, so they fall into the same chunk and are sent once.
    shared = F.min(pass_.prefix.cast("string")).over(Window.partitionBy("request_id"))
    marked = _marked(subjects, pass_, finished_completions(ctx)).withColumn("_prefix", shared)
    ranged = marked.repartitionByRange(chunks, "_done", "_prefix", "request_id").withColumn(
        "_chunk", F.spark_partition_id()
    )
    # Positions count the requests that are still to be sent; the others are in an order of their own.
    ordered = Window.partitionBy("_chunk", "_done").orderBy("_prefix", "request_id")
    positioned = ranged.withColumn("_position", F.dense_rank().over(ordered))
    return ctx.warehouse.write_scratch(scratch, positioned, ["_chunk"])


def _run_chunk(ctx: Context, pass_: Pass, rows: DataFrame, requests: int, tokens: int, state: _State) -> None:
    """Call and write a chunk; a failed job is halved until the request to blame stands alone."""
    probe = PROBE_REPLIES if state.replies < PROBE_REPLIES < requests else requests
    pending = [(1, probe)] + ([(probe + 1, requests)] if probe < requests else [])
    per_request = tokens / requests
    while pending:
        low, high = pending.pop(0)
        count = high - low + 1
        allowed = ctx.budget.allowance(count, count * per_request, pass_.engine)
        part = rows.where(F.col("_position").between(low, low + allowed - 1))
        error = _run_part(ctx, pass_, part, state) if allowed > 0 else None
        if state.failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            _require_engine(ctx, pass_, f"{state.failures_in_a_row} jobs in a row failed")
            state.failures_in_a_row = 0
        if error is None and allowed < count:
            raise BudgetReachedError(
                f"stopped at {ctx.budget.describe()}: what is left stays pending, run again to go on"
            )
        if error is None:
            continue
        if allowed == 1:
            _require_engine(ctx, pass_, error)
            _give_up(ctx, pass_, part, error, state)
        else:
            middle = low + allowed // 2
            # Both halves before any quarter: one bad request leaves a half that works.
            pending += [(low, middle - 1), (middle, low + allowed - 1)]
        if allowed < count:
            pending.append((low + allowed, high))


def _require_engine(ctx: Context, pass_: Pass, error: str) -> None:
    """Raise EngineFailedError unless the engine answers: what it does not answer is not to blame."""
    silent = why_silent(ctx.spark, pass_.engine)
    if silent is not None:
        raise EngineFailedError(
            f"{pass_.stage}: engine {pass_.engine.name} does not answer ({error}; asked again: {silent}); "
            "nothing was lost: see webscale-rl doctor and the table attempts, and run again once it works"
        )


def _run_part(ctx: Context, pass_: Pass, rows: DataFrame, state: _State) -> str | None:
    """Call a part's requests, keep the replies, write the rows; the error of a failed job, or None."""
    state.item += 1
    seen = Observation()
    asked = (
        rows.withColumn("request", pass_.request())
        .select("request_id", "request", "_position")
        .dropDuplicates(["request_id"])
    )
    workers = pass_.engine.settings.workers or parallelism(ctx.spark)
    asked = asked.repartitionByRange(workers, "_position").sortWithinPartitions("_position")
    replies = _call(asked.drop("_position"), pass_).observe(
        seen,
        F.count("*").alias("requests"),
        F.sum("prompt_tokens").alias("prompt"),
        F.sum("cached_tokens").alias("cached"),
        F.sum("completion_tokens").alias("completion"),
        F.count_if(F.col("fault") == "passing").alias("faults"),
    )
    marked = replies.select(
        "*",
        F.lit(pass_.stage).alias("stage"),
        F.lit(state.item).alias("chunk"),
        F.lit(pass_.engine.name).alias("engine"),
        F.lit(pass_.engine.identity.get("model")).alias("model"),
        F.current_timestamp().alias("finished_at"),
        F.lit(ctx.run).alias("run"),
    )
    try:
        ctx.warehouse.append("completions", marked)
    except SPARK_ERRORS as error:
        state.failures_in_a_row += 1
        _record_attempts(ctx, pass_, rows.select("request_id").distinct(), first_line(error))
        return first_line(error)
    reached("completions_written")
    counts = {name: int(value or 0) for name, value in seen.get.items()}
    ctx.budget.spend(
        counts["requests"], counts["prompt"], counts["cached"], counts["completion"], pass_.engine
    )
    state.outcome.requests += counts["requests"]
    spent = counts["prompt"] + counts["completion"]
    state.outcome.tokens += spent
    mine = ctx.warehouse.read("completions").where(
        (F.col("run") == ctx.run) & (F.col("stage") == pass_.stage) & (F.col("chunk") == state.item)
    )
    if counts["faults"]:
        state.outcome.failed += counts["faults"]
        _move_faults(ctx, pass_, mine, state.item)
    if counts["requests"] > counts["faults"]:
        state.failures_in_a_row, state.answered = 0, True
    else:
        state.failures_in_a_row += 1
    bare = rows.drop(*_WORKING)
    finished = mine.where(F.coalesce(F.col("fault"), F.lit("")) != "passing")
    _write(ctx, pass_, _with_completions(bare, finished), state, spent)
    reached("rows_written")
    _check_readable(pass_, state)
    return None


def _call(asked: DataFrame, pass_: Pass) -> DataFrame:
    return asked.select("request_id", "request").mapInArrow(
        engine_function(pass_.engine.spec), COMPLETION_DDL
    )


def _with_completions(rows: DataFrame, completions: DataFrame) -> DataFrame:
    # A request is never paid twice, but two runs may both have kept it: one row a request.
    found = completions.select("request_id", F.struct(*REPLY_FIELDS).alias("completion")).dropDuplicates(
        ["request_id"]
    )
    return rows.join(found, "request_id")


def _write(ctx: Context, pass_: Pass, completed: DataFrame, state: _State, tokens: int = 0) -> None:
    seen = Observation()
    finished = pass_.finish(completed)
    unparsed = F.arrays_overlap(F.col("reasons"), F.lit(list(PARSE_REASONS)))
    observed = finished.observe(
        seen,
        F.count("*").alias("rows"),
        F.count_if(F.col("status") == "kept").alias("kept"),
        F.count_if(unparsed).alias("unparsed"),
    )
    pass_.write(observed)
    counts = {name: int(value or 0) for name, value in seen.get.items()}
    state.outcome.rows += counts["rows"]
    state.outcome.kept += counts["kept"]
    state.replies += counts["rows"]
    state.unparsed += counts["unparsed"]
    ctx.progress.advance(counts["rows"], counts["kept"], tokens)


def _check_readable(pass_: Pass, state: _State) -> None:
    if state.replies >= PROBE_REPLIES and state.unparsed > MAX_UNPARSED_SHARE * state.replies:
        raise UnparsableRepliesError(
            f"{pass_.stage}: {state.unparsed} of the first {state.replies} replies could not be "
            f'read: look at them with webscale-rl sql "SELECT text FROM completions WHERE stage = '
            f"'{pass_.stage}' LIMIT 5\", then mend the prompt or choose another model"
        )


def _record_attempts(ctx: Context, pass_: Pass, requests: DataFrame, error: str) -> None:
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


def _move_faults(ctx: Context, pass_: Pass, mine: DataFrame, item: int) -> None:
    """Passing faults belong to `attempts`: their rows stay pending."""
    faults = mine.where(F.col("fault") == "passing").select("request_id", "error")
    _record_attempts(ctx, pass_, faults, "")
    ctx.warehouse.execute(
        f"DELETE FROM {{completions}} WHERE run = {ctx.run} AND stage = '{pass_.stage}' "
        f"AND chunk = {item} AND fault = 'passing'",
        completions="completions",
    )


def _give_up(ctx: Context, pass_: Pass, rows: DataFrame, error: str, state: _State) -> None:
    """A request that fails alone while the engine answers others gets a lasting fault."""
    request = rows.select("request_id").distinct()
    state.item += 1
    given_up = request.select(
        "request_id",
        F.lit(pass_.stage).alias("stage"),
        F.lit(state.item).alias("chunk"),
        F.lit(pass_.engine.name).alias("engine"),
        F.lit(pass_.engine.identity.get("model")).alias("model"),
        F.lit(None).cast("string").alias("text"),
        F.lit("error").alias("finish_reason"),
        F.lit("lasting").alias("fault"),
        F.lit(f"kills_engine: {error[:500]}").alias("error"),
        *[
            F.lit(None).cast(kind).alias(name)
            for name, kind in (
                ("prompt_tokens", "int"),
                ("cached_tokens", "int"),
                ("completion_tokens", "int"),
                ("mean_logprob", "double"),
                ("min_logprob", "double"),
                ("choice_logprobs", "array<double>"),
                ("seconds", "double"),
            )
        ],
        F.current_timestamp().alias("finished_at"),
        F.lit(ctx.run).alias("run"),
    )
    ctx.warehouse.append("completions", given_up)
    ctx.progress.note(f"{pass_.stage}: one request kills the engine and is rejected ({error})")
    mine = ctx.warehouse.read("completions").where(
        (F.col("run") == ctx.run) & (F.col("stage") == pass_.stage) & (F.col("chunk") == state.item)
    )
    _write(ctx, pass_, _with_completions(rows.drop(*_WORKING), mine), state)
