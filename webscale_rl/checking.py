"""The stage check over a warehouse: each gate on the pairs that wait for it, then what their verdicts say."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.flow import Flow
from webscale_rl.llm.completions import Pass, run_pass
from webscale_rl.stage_io import append_counting, append_under
from webscale_rl.stages import check, check_steps

# Which gate a row of a pass is for.
_GATE = "_gate"


def run_check(ctx: Context, flow: Flow) -> None:
    """The check's gates in their order, then the rows derived from their verdicts."""
    settings = ctx.config.check
    if flow.pending_keys("check").isEmpty():
        return
    ctx.warehouse.claim("gate_verdicts")
    # Only keys are carried from gate to gate; texts are joined for the pairs that a gate works on.
    alive = flow.limited(flow.keys("check"))
    undecided: DataFrame | None = None
    for group in check_steps.together(settings, ctx.bodies):
        if settings.asking(group[0].kind) is not None:
            _ask(ctx, flow, group, alive)
        else:
            _judge_without_model(ctx, flow, group[0], alive, undecided)
        alive = _not_refused(ctx, group, alive)
        for step in group:
            seen = step_verdicts(ctx, step)
            passed = seen.groupBy("pair_key").agg(F.bool_and("passed").alias("ok")).where("ok")
            pending = alive.join(seen.select("pair_key"), "pair_key", "left_anti").select("passage_key")
            undecided = pending if undecided is None else undecided.union(pending)
            alive = alive.join(passed.select("pair_key"), "pair_key", "left_semi")
    rows = check.derive(flow.pending_keys("check"), all_verdicts(ctx), settings)
    total = rows.count()
    if total:
        ctx.warehouse.claim("checked")
        ctx.progress.begin("check", total)
        ctx.progress.advance(total, append_counting(ctx, "check", rows))
        ctx.progress.end()


def _not_refused(ctx: Context, group: Sequence[check_steps.Step], keys: DataFrame) -> DataFrame:
    """The pairs that none of a group's steps has refused (one step alone asks nothing about them anyway)."""
    for step in group if len(group) > 1 else ():
        refused = step_verdicts(ctx, step).where("NOT passed").select("pair_key").distinct()
        keys = keys.join(refused, "pair_key", "left_anti")
    return keys


def step_verdicts(ctx: Context, step: check_steps.Step) -> DataFrame:
    """A step's verdicts under its recipe in force."""
    return ctx.warehouse.read("gate_verdicts").where(
        F.col("gate").isin(list(step.gates)) & (F.col("recipe") == ctx.recipes[step.name])
    )


def all_verdicts(ctx: Context) -> DataFrame:
    """Every gate's verdicts under the recipes in force."""
    frames = [step_verdicts(ctx, step) for step in check_steps.steps(ctx.config.check)]
    return _union(frames)


def _append_verdicts(ctx: Context, steps: Sequence[check_steps.Step], rows: DataFrame) -> None:
    """Append verdicts of some steps' gates, each under its step's recipe."""
    recipes = [F.when(F.col("gate").isin(list(step.gates)), ctx.recipes[step.name]) for step in steps]
    append_under(ctx, "gate_verdicts", rows, F.coalesce(*recipes))


def _judge_without_model(
    ctx: Context, flow: Flow, step: check_steps.Step, alive: DataFrame, undecided: DataFrame | None
) -> None:
    """Have gates that ask no model judge the pairs that are alive and have no verdict of them yet.

    Args:
        alive: keys of the pairs that the steps before have passed.
        undecided: passage_key of pairs that the steps before could not judge yet.
    """
    verdicts = step_verdicts(ctx, step).where(F.col("gate") == step.gates[0])
    waiting = alive.join(verdicts.select("pair_key"), "pair_key", "left_anti")
    if step.kind == check_steps.DUPLICATE:
        # A question is compared with its siblings only when all of them are there.
        unfinished = flow.pending_keys("generate").select("passage_key")
        if undecided is not None:
            unfinished = unfinished.union(undecided)
        waiting = waiting.join(unfinished, "passage_key", "left_anti")
    if waiting.isEmpty():
        return
    if step.kind == check_steps.LIKELIHOOD:
        pairs = flow.inputs("check", waiting)
        rows = check.apply_likelihood(pairs, ctx.config.check.min_question_logprob)
    elif step.kind == check_steps.DUPLICATE:
        passages = waiting.select("passage_key").distinct()
        siblings = alive.join(passages, "passage_key", "left_semi")
        rows = check.apply_duplicates(flow.inputs("check", siblings)).join(
            waiting.select("pair_key"), "pair_key", "left_semi"
        )
    else:
        rows = check.apply_rules(flow.inputs("check", waiting), step, ctx.config.check.rules)
    _append_verdicts(ctx, [step], rows.withColumn("request_id", F.lit(None).cast("string")))


def _ask(ctx: Context, flow: Flow, group: Sequence[check_steps.Step], alive: DataFrame) -> None:
    """Have a model judge the pairs that are alive, for all gates of a group in one pass."""
    # A pair that one of them has refused in an earlier run needs no other verdict.
    alive = _not_refused(ctx, group, alive)
    waiting: dict[check_steps.Step, DataFrame] = {}
    for step in group:
        keys = alive.join(step_verdicts(ctx, step).select("pair_key"), "pair_key", "left_anti")
        if not keys.isEmpty():
            waiting[step] = keys
    if not waiting:
        return
    bodies = {step: ctx.bodies[step.name] for step in waiting}
    subjects = [
        check.prepare(flow.inputs("check", keys), step, bodies[step]).withColumn(_GATE, F.lit(step.kind))
        for step, keys in waiting.items()
    ]

    def request() -> Column:
        asked = [
            F.when(F.col(_GATE) == step.kind, check.gate_request(bodies[step], step)) for step in waiting
        ]
        return F.coalesce(*asked)

    def finish(completed: DataFrame) -> DataFrame:
        return _union(
            [check.finish(completed.where(F.col(_GATE) == step.kind), step, bodies[step]) for step in waiting]
        )

    asking = ctx.config.check.asking(next(iter(waiting)).kind)
    assert asking is not None
    run_pass(
        ctx,
        Pass(
            stage=f"check.{'_and_'.join(step.kind for step in group)}",
            engine=ctx.engines.get(asking.engine),
            request=request,
            prefix=check.prefix(),
            max_tokens=max(int(body["sampling"]["max_tokens"]) for body in bodies.values()),
            finish=finish,
            write=lambda rows: _append_verdicts(ctx, group, rows),
            gates=tuple(step.kind for step in group) if len(group) > 1 else (),
        ),
        functools.reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), subjects),
    )


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return functools.reduce(DataFrame.unionByName, frames)
