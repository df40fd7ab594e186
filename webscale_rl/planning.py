"""What a run would do, touching nothing.

Stages without a model are computed on the fly, on top of what the tables hold, so a plan of a new
corpus knows its passages. What a model would say is not known: from the first pending model stage on,
figures are upper bounds (every pending passage kept, every persona asked, every pair checked).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.flow import STAGE_TABLE, Flow
from webscale_rl.llm.completions import estimate, finished_completions
from webscale_rl.running import pure
from webscale_rl.stage_io import asking_pass
from webscale_rl.stages import check_steps, deduplicate, generate, identify, ingest, screen

CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class PlannedStage:
    """One stage's line of a plan.

    Attributes:
        pending: input rows without an outcome.
        requests: of these, requests that would go to a model (none where a reply is kept already).
        tokens: estimated prompt and completion tokens of these requests.
        cost: where prices are configured.
        bound: whether the figures are upper bounds, resting on what a model would say before.
    """

    stage: str
    pending: int
    requests: int
    tokens: int
    cost: float | None
    bound: bool


def plan(ctx: Context, stages: Sequence[str], sources: DataFrame | None) -> list[PlannedStage]:
    """The plan of a run of some stages, in order.

    Args:
        sources: rows of the sources, where ingest is among the stages.
    """
    tables: dict[str, DataFrame] = {}

    def read(name: str) -> DataFrame:
        return tables.get(name, ctx.warehouse.read(name))

    def add(stage: str, rows: DataFrame) -> None:
        name = STAGE_TABLE[stage]
        marked = rows.withColumn("recipe", F.lit(ctx.recipes[stage])).withColumn("run", F.lit(_next_run(ctx)))
        # Computed once, and cut off from the plan that made it: every later stage reads it several
        # times, and what is planned upon what was planned would grow without bounds.
        tables[name] = read(name).unionByName(marked.localCheckpoint(), allowMissingColumns=True)

    flow = Flow(read, ctx.recipes, ctx.limit, persist=True)
    planned: list[PlannedStage] = []
    more = 0  # rows that an earlier model stage may add, beyond what the tables know
    for stage in stages:
        if stage == "ingest":
            fresh = 0
            if sources is not None:
                documents = ingest.apply(sources, ctx.config.ingest)
                news = ingest.news(documents, flow.documents())
                fresh = news.count()
                add("ingest", news.withColumn("ingest_commit", F.lit(_next_run(ctx))))
                # What was looked up so far does not know the new documents. A later stage's rows are
                # added before the keys that depend on them are looked up.
                flow.release()
            planned.append(PlannedStage(stage, fresh, 0, 0, None, False))
        elif stage in ("filter", "segment", "deduplicate"):
            waiting = flow.pending(stage)
            if stage == "deduplicate":
                waiting = deduplicate.pending(
                    deduplicate.standing(flow.inputs(stage), flow.duplicate_verdicts())
                )
                waiting = flow.limited(waiting)
                # Copies are looked for among these alone; the kept index is left for the run.
                waiting = waiting.join(flow.documents().select("document_key", "text"), "document_key")
            count = waiting.count()
            planned.append(PlannedStage(stage, count, 0, 0, None, False))
            if count:
                add(stage, pure(ctx, stage, waiting))
        else:
            line, more = _model_stage(ctx, flow, stage, more, planned)
            planned.append(line)
    return planned


def _next_run(ctx: Context) -> int:
    return 1 << 62 if ctx.run == 0 else ctx.run


def _model_stage(
    ctx: Context, flow: Flow, stage: str, more: int, planned: list[PlannedStage]
) -> tuple[PlannedStage, int]:
    """A stage's line, and how many rows it may add to the next one."""
    known = flow.pending(stage)
    known_count = known.count()
    if stage == "decontaminate":
        return PlannedStage(stage, known_count + more, 0, 0, None, more > 0), 0
    if stage == "check":
        return _check(ctx, known_count, more), known_count + more
    settings = getattr(ctx.config, stage)
    engine = ctx.engines.get(settings.engine)
    body = ctx.bodies[stage]
    requests = tokens = 0
    if known_count:
        subjects = generate.prepare(known, body) if stage == "generate" else known
        request = generate.unit_request if stage == "generate" else screen.shared_request
        pass_ = asking_pass(
            ctx,
            stage,
            settings.engine,
            lambda: request(body),
            F.lit(""),
            lambda d: d,
            lambda d: None,
        )
        _, requests, tokens = estimate(subjects, pass_, finished_completions(ctx))
    shared = stage == "identify" and body.get("prompt") == ctx.bodies.get("screen", {}).get("prompt")
    if more and not shared:
        mean = _mean_tokens(ctx, stage, flow)
        requests += more
        tokens += more * mean
    factor = identify.most_readers(body) if stage == "identify" else 1
    pending = known_count + more
    line = PlannedStage(stage, pending, requests, tokens, engine.cost(tokens, 0, 0), more > 0)
    return line, pending * factor


def _check(ctx: Context, known: int, more: int) -> PlannedStage:
    pending = known + more
    requests = tokens = 0
    cost: float | None = None
    for step in check_steps.steps(ctx.config.check):
        asking = ctx.config.check.asking(step.kind)
        if asking is not None:
            body = ctx.bodies[step.name]
            length = _prompt_tokens(body) + ctx.config.segment.max_tokens
            requests += pending
            tokens += pending * length
            engine = ctx.engines.get(asking.engine)
            part = engine.cost(pending * length, 0, 0)
            cost = part if cost is None else cost + (part or 0.0)
    return PlannedStage("check", pending, requests, tokens, cost, pending > 0)


def _prompt_tokens(body: dict[str, object]) -> int:
    prompt = body["prompt"]
    assert isinstance(prompt, dict)
    text = len(str(prompt.get("system", ""))) + len(str(prompt.get("user", "")))
    return text // CHARS_PER_TOKEN + int(prompt["max_tokens"])


def _mean_tokens(ctx: Context, stage: str, flow: Flow) -> int:
    """Tokens of one request about a passage of the corpus at hand, demonstrations included."""
    row = flow.inputs("screen").agg(F.avg("tokens").alias("mean")).collect()[0]
    body = ctx.bodies[stage]
    examples = body.get("demonstrations") or {}
    shown = max((len(text) for text in examples.values()), default=0) // CHARS_PER_TOKEN
    return int(row["mean"] or 0) + _prompt_tokens(body) + shown
