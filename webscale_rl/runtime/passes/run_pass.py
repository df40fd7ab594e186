"""One pass of a language model over pending rows: requests in chunks, replies kept, rows written.

The costly thing is a call. So the requests that a pass needs are looked up in `completions` first, only
missing ones go to the engine, each chunk's replies are appended before anything is made of them, and
what is made of them (the stage's rows) can be replayed at will. Several chunks can be in flight, so that
engines do not wait for the last one of a chunk, nor for its rows. Killed anywhere, at most the chunks in
flight are called again.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from udfs.engines.completion import REPLY_FIELDS
from webscale_rl.errors import BudgetReachedError, EngineFailedError
from webscale_rl.llm.placement import Placement, place
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.passes.chunks import WORKING, Chunk, chunks, in_chunks
from webscale_rl.runtime.passes.decided import decided_by, is_outcome
from webscale_rl.runtime.passes.estimate import _marked, estimate, finished_completions
from webscale_rl.runtime.passes.faults import (
    engine_fault,
    give_up,
    move_faults,
    record_attempts,
    retire_faults,
)
from webscale_rl.runtime.passes.model_pass import Outcome, Pass
from webscale_rl.runtime.passes.probe import why_silent
from webscale_rl.runtime.passes.unreadable import Readable
from webscale_rl.spark.errors import SPARK_ERRORS, first_line
from webscale_rl.spark.faultpoints import reached
from webscale_rl.spark.interrupts import cancel_tagged

_LOG = logging.getLogger(__name__)

# Replies after which a stage is stopped if most of them are unreadable.
PROBE_REPLIES = 200
# Failed jobs in a row after which the engine is asked whether it works at all.
MAX_FAILURES_IN_A_ROW = 8

# How many times smaller the last chunk's tasks are, so that engines end together.
LAST_CHUNK_CUTS = 4


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
    finished = finished_completions(ctx, pass_.engine)
    total, requests, tokens = estimate(subjects, pass_, finished)
    if total == 0:
        return Outcome()
    work = _Work(ctx, pass_, place(ctx.spark, pass_.engine))
    work.claim()
    ctx.progress.begin(pass_.stage, total)
    scratch = pass_.stage.replace(".", "_")
    # Equal requests get the same prefix, so they stand together and are sent once.
    shared = F.min(pass_.prefix.cast("string")).over(Window.partitionBy("request_id"))
    marked = _marked(subjects, pass_, finished).withColumn("_prefix", shared)
    written = ctx.warehouse.write_scratch(
        scratch, in_chunks(marked, pass_.engine.settings.chunk_tokens, tokens), ["_chunk"]
    )
    reached("requests_written")
    try:
        if requests < total:
            answered = written.where("_done").drop(*WORKING)
            work.write(_with_completions(answered, finished_completions(ctx, pass_.engine)))
        if requests:
            retire_faults(ctx, pass_, written.where("NOT _done"))
            work.send_all(written, ctx.warehouse.scratch(scratch, written.schema, work.placement.spark))
    finally:
        ctx.progress.end()
    ctx.warehouse.drop_scratch(scratch)
    return work.outcome


@dataclass(frozen=True)
class _Sent:
    """A chunk that was sent under a number of the pass: what was counted, or why its job failed."""

    chunk: Chunk
    number: int
    counts: dict[str, int]
    error: str | None = None


class _Work:
    """One pass at work: chunks in flight in threads, everything else in the thread that runs the stage."""

    def __init__(self, ctx: Context, pass_: Pass, placement: Placement) -> None:
        self.ctx, self.pass_, self.placement = ctx, pass_, placement
        self.outcome = Outcome()
        self._number = self._failures_in_a_row = 0
        self._readable = Readable(pass_.stage, pass_.gates)
        self._answered = False
        self._broken: str | None = None  # what is wrong with the engine for every request
        self._again: deque[Chunk] = deque()  # parts of chunks whose job failed
        self._waiting: deque[Chunk] = deque()
        self._running: dict[Future[_Sent], tuple[Chunk, int]] = {}
        self._lanes = list(range(pass_.engine.settings.in_flight))
        self._tag = f"webscale-rl-{ctx.run}-{pass_.stage}"

    def claim(self) -> None:
        """See that no earlier run can add completions, on any of the lanes."""
        for lane in self._lanes:
            self.ctx.warehouse.claim("completions", lane)

    def send_all(self, written: DataFrame, there: DataFrame) -> None:
        """Send every chunk and write its rows.

        Args:
            written: the written requests.
            there: the same in the session whose workers hold the engine.
        """
        for note in self.placement.notes:
            self.ctx.progress.warn(f"{self.pass_.stage}: engine {self.pass_.engine.name}: {note}")
        self._waiting.extend(self._probed(chunks(written)))
        with ThreadPoolExecutor(len(self._lanes), "chunks") as pool:
            try:
                self._fill(pool, there)
                while self._running:
                    for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                        _, lane = self._running.pop(future)
                        self._lanes.append(lane)
                        sent = future.result()
                        if sent.error is None:
                            self._spend(sent)
                            if self.outcome.rows >= PROBE_REPLIES:
                                # The engines go on while this chunk's rows are written.
                                self._fill(pool, there)
                            self._keep(sent, written)
                        else:
                            self._split(sent.chunk, sent.error, written)
                    self._fill(pool, there)
            finally:
                cancel_tagged(self.placement.spark, self._tag, self._running)
        if self._broken is not None:
            raise EngineFailedError(
                f"{self.pass_.stage}: engine {self.pass_.engine.name} refuses whatever it is asked "
                f"({self._broken}); what was not answered stays pending: run again once this is mended"
            )
        if self._again or self._waiting:
            raise BudgetReachedError(
                f"stopped at {self.ctx.budget.describe()}: what is left stays pending, run again to go on"
            )
        if self._failures_in_a_row and not self._answered:
            self._require_engine("every request failed")

    def _probed(self, found: list[Chunk]) -> list[Chunk]:
        """The first chunk cut so that a prompt whose replies cannot be read costs a few replies only."""
        if found and found[0].requests > PROBE_REPLIES > self.outcome.rows:
            return [found[0].first(PROBE_REPLIES), found[0].after(PROBE_REPLIES), *found[1:]]
        return found

    def _fill(self, pool: ThreadPoolExecutor, there: DataFrame) -> None:
        """Send chunks as long as lanes are free and the budget allows it."""
        seats = len(self._lanes) + len(self._running) if self.outcome.rows >= PROBE_REPLIES else 1
        while self._broken is None and (self._again or self._waiting) and len(self._running) < seats:
            queue = self._again or self._waiting
            chunk = queue[0]
            in_flight = [one for one, _ in self._running.values()]
            allowed = self.ctx.budget.allowance(
                chunk.requests,
                chunk.tokens,
                self.pass_.engine,
                sum(one.requests for one in in_flight),
                sum(one.tokens for one in in_flight),
            )
            if not allowed:
                return
            queue.popleft()
            if allowed < chunk.requests:
                queue.appendleft(chunk.after(allowed))
                chunk = chunk.first(allowed)
            self._number += 1
            lane = self._lanes.pop()
            workers = self.placement.workers
            tasks = workers * self.pass_.engine.settings.tasks
            if workers > 1 and not self._waiting and chunk.requests > LAST_CHUNK_CUTS * PROBE_REPLIES:
                tasks *= LAST_CHUNK_CUTS
            future = pool.submit(self._send, there, chunk, min(tasks, chunk.requests), self._number, lane)
            self._running[future] = chunk, lane

    def _send(self, there: DataFrame, chunk: Chunk, tasks: int, number: int, lane: int) -> _Sent:
        """Call a chunk's requests and keep the replies; in a thread of its own."""
        pass_, seen = self.pass_, Observation()
        there.sparkSession.addTag(self._tag)
        asked = chunk.rows(there).withColumn("request", pass_.request())
        spread = chunk.spread(asked, tasks).select("request_id", "request")
        replies = self.placement.call(spread).observe(
            seen,
            F.count("*").alias("requests"),
            F.sum("prompt_tokens").alias("prompt"),
            F.sum("cached_tokens").alias("cached"),
            F.sum("completion_tokens").alias("completion"),
            F.count_if(~is_outcome()).alias("faults"),
            F.count_if(F.col("fault") == "engine").alias("engine_faults"),
        )
        marked = replies.select(
            "*",
            F.lit(pass_.stage).alias("stage"),
            F.lit(number).alias("chunk"),
            F.lit(pass_.engine.name).alias("engine"),
            F.lit(pass_.engine.identity.get("model")).alias("model"),
            decided_by(pass_.engine, F.col("fault"), F.col("error")).alias("decided_by"),
            F.current_timestamp().alias("finished_at"),
            F.lit(self.ctx.run).alias("run"),
        )
        try:
            self.ctx.warehouse.append("completions", marked, lane)
        except SPARK_ERRORS as error:
            return _Sent(chunk, number, {}, first_line(error))
        reached("completions_written")
        return _Sent(chunk, number, {name: int(value or 0) for name, value in seen.get.items()})

    def _spend(self, sent: _Sent) -> None:
        counts = sent.counts
        self.ctx.budget.spend(
            counts["requests"], counts["prompt"], counts["cached"], counts["completion"], self.pass_.engine
        )
        self.outcome.requests += counts["requests"]
        self.outcome.tokens += counts["prompt"] + counts["completion"]
        self.outcome.failed += counts["faults"]
        if counts["requests"] > counts["faults"]:
            self._failures_in_a_row, self._answered = 0, True

    def _keep(self, sent: _Sent, written: DataFrame) -> None:
        """Write the rows of a chunk whose replies are kept."""
        mine = self._completions(sent.number)
        if sent.counts["engine_faults"]:
            self._broken = self._broken or engine_fault(mine)
        if sent.counts["faults"]:
            counts = sent.counts["faults"], sent.counts["requests"]
            _LOG.warning("%s: %d of %d requests failed and stay pending", self.pass_.stage, *counts)
            move_faults(self.ctx, self.pass_, mine, sent.number)
            if sent.counts["faults"] == sent.counts["requests"] and self._broken is None:
                self._fail()
        finished = mine.where(is_outcome())
        rows = sent.chunk.rows(written).drop(*WORKING)
        self.write(_with_completions(rows, finished), sent.counts["prompt"] + sent.counts["completion"])
        reached("rows_written")
        if self.outcome.rows >= PROBE_REPLIES:
            self._readable.require(PROBE_REPLIES)

    def _split(self, chunk: Chunk, error: str, written: DataFrame) -> None:
        """A chunk whose job failed is halved, until the request to blame stands alone."""
        _LOG.warning("%s: a job of %d requests failed: %s", self.pass_.stage, chunk.requests, error)
        rows = chunk.rows(written)
        record_attempts(self.ctx, self.pass_, rows.select("request_id").distinct(), error)
        self._fail()
        if chunk.requests > 1:
            # Both halves before any quarter: one bad request leaves a half that works.
            self._again.extend(chunk.halves())
            return
        self._require_engine(error)
        self._number += 1
        give_up(self.ctx, self.pass_, rows, error, self._number)
        self.write(_with_completions(rows.drop(*WORKING), self._completions(self._number)))

    def _fail(self) -> None:
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self._require_engine(f"{self._failures_in_a_row} jobs in a row failed")
            self._failures_in_a_row = 0

    def _require_engine(self, error: str) -> None:
        """Raise EngineFailedError unless the engine answers: what it does not answer is not to blame."""
        silent = why_silent(self.placement)
        if silent is not None:
            name = self.pass_.engine.name
            raise EngineFailedError(
                f"{self.pass_.stage}: engine {name} does not answer ({error}; asked again: {silent}); "
                "nothing was lost: see webscale-rl doctor and the table attempts, and run again once it works"
            )

    def _completions(self, number: int) -> DataFrame:
        """This pass's completions of one number."""
        return self.ctx.warehouse.read("completions").where(
            (F.col("run") == self.ctx.run) & (F.col("stage") == self.pass_.stage) & (F.col("chunk") == number)
        )

    def write(self, completed: DataFrame, tokens: int = 0) -> None:
        """Write the stage's rows of completed requests."""
        seen = Observation()
        observed = self.pass_.finish(completed).observe(
            seen,
            F.count("*").alias("rows"),
            F.count_if(F.col("status") == "kept").alias("kept"),
            *self._readable.columns(),
        )
        self.pass_.write(observed)
        counts = {name: int(value or 0) for name, value in seen.get.items()}
        self.outcome.rows += counts["rows"]
        self.outcome.kept += counts["kept"]
        self._readable.add(counts)
        self.ctx.progress.advance(counts["rows"], counts["kept"], tokens)


def _with_completions(rows: DataFrame, completions: DataFrame) -> DataFrame:
    # A request is never paid twice, but two runs may both have kept it: one row a request.
    found = completions.select("request_id", F.struct(*REPLY_FIELDS).alias("completion")).dropDuplicates(
        ["request_id"]
    )
    return rows.join(found, "request_id")
