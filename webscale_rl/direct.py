"""One stage on a frame, without a warehouse: what a notebook tries a setting with."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.errors import ConfigError
from webscale_rl.llm.completions import complete_directly
from webscale_rl.running import pure
from webscale_rl.stage_io import asking_pass
from webscale_rl.stages import check, check_steps, generate, identify, screen


def apply_stage(ctx: Context, stage: str, rows: DataFrame) -> DataFrame:
    """The stage's output rows, less recipe and run, lazily.

    Raises:
        ConfigError: ingest, which needs sources; or no such stage.
    """
    if stage == "ingest":
        raise ConfigError("ingest reads sources: use Pipeline.run(inputs=frame)")
    if stage in ("screen", "identify"):
        body = ctx.bodies[stage]
        finish = screen.finish if stage == "screen" else identify.finish
        pass_ = asking_pass(
            ctx,
            stage,
            getattr(ctx.config, stage).engine,
            lambda: screen.shared_request(body),
            F.col("passage_key"),
            lambda completed: finish(completed, body),
            lambda _: None,
        )
        return complete_directly(rows, pass_)
    if stage == "generate":
        return _generate(ctx, rows)
    if stage == "check":
        return _check(ctx, rows)
    return pure(ctx, stage, rows)


def _generate(ctx: Context, rows: DataFrame) -> DataFrame:
    body = ctx.bodies["generate"]
    prepared = generate.prepare(rows, body)
    asked = prepared
    if body["strategy"] == "answer_first":
        asked = prepared.where(F.col("span").isNotNull())
    pass_ = asking_pass(
        ctx,
        "generate",
        ctx.config.generate.engine,
        lambda: generate.unit_request(body),
        generate.prefix(body),
        lambda completed: generate.finish(completed, body),
        lambda _: None,
    )
    done = complete_directly(asked, pass_)
    return done.unionByName(generate.without_span(prepared, body))


def _check(ctx: Context, rows: DataFrame) -> DataFrame:
    settings = ctx.config.check
    alive = rows
    verdicts: DataFrame | None = None
    columns = ("pair_key", "gate", "passed", "reason", "score")
    for group in check_steps.together(settings, ctx.bodies):
        asked = alive
        for step in group:
            found = _gate(ctx, step, asked).select(*columns)
            verdicts = found if verdicts is None else verdicts.unionByName(found)
            passed = found.groupBy("pair_key").agg(F.bool_and("passed").alias("ok")).where("ok")
            alive = alive.join(passed.select("pair_key"), "pair_key", "left_semi")
    assert verdicts is not None
    return check.derive(rows, verdicts, settings)


def _gate(ctx: Context, step: check_steps.Step, pairs: DataFrame) -> DataFrame:
    """The verdicts of a step's gates."""
    settings = ctx.config.check
    asking = settings.asking(step.kind)
    if step.kind == check_steps.LIKELIHOOD:
        return check.apply_likelihood(pairs, settings.min_question_logprob)
    if step.kind == check_steps.DUPLICATE:
        return check.apply_duplicates(pairs)
    if asking is None:
        return check.apply_rules(pairs, step, settings.rules)
    body = ctx.bodies[step.name]
    pass_ = asking_pass(
        ctx,
        step.name,
        asking.engine,
        lambda: check.gate_request(body, step),
        check.prefix(),
        lambda completed: check.finish(completed, step, body),
        lambda _: None,
    )
    return complete_directly(check.prepare(pairs, step, body), pass_)
