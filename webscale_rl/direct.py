"""One stage on a frame, without a warehouse: what a notebook tries a setting with."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.context import Context
from webscale_rl.errors import ConfigError
from webscale_rl.llm.completions import complete_directly
from webscale_rl.running import asking_pass, pure
from webscale_rl.stages import check, generate, identify, screen


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
    for step in check.steps(settings):
        body = ctx.bodies[step.name]
        if step.kind == "rules":
            found = check.apply_rules(alive, step, settings.rules)
        elif step.kind == check.LIKELIHOOD:
            found = check.apply_likelihood(alive, settings.min_logprob)
        elif step.kind == check.DUPLICATE:
            found = check.apply_duplicates(alive)
        else:
            asking = settings.asking(step.kind)
            assert asking is not None
            found = _ask_gate(ctx, step, asking.engine, body, alive)
        found = found.select(*columns)
        verdicts = found if verdicts is None else verdicts.unionByName(found)
        passed = found.groupBy("pair_key").agg(F.bool_and("passed").alias("ok")).where("ok")
        alive = alive.join(passed.select("pair_key"), "pair_key", "left_semi")
    assert verdicts is not None
    return check.derive(rows, verdicts, settings)


def _ask_gate(
    ctx: Context, step: check.Step, engine: str, body: dict[str, object], alive: DataFrame
) -> DataFrame:
    finish = check.finish_judge if step.kind == check.JUDGE else check.finish_round_trip
    pass_ = asking_pass(
        ctx,
        step.name,
        engine,
        lambda: check.gate_request(body, step),
        check.prefix(),
        lambda completed: finish(completed, body),
        lambda _: None,
    )
    return complete_directly(check.prepare(alive, step, body), pass_)
