"""How each stage finds its pending rows in a warehouse, works on them, and appends what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.checking import run_check
from webscale_rl.config import Config, find_file
from webscale_rl.context import Context
from webscale_rl.deduplicating import run_deduplicate
from webscale_rl.errors import ConfigError
from webscale_rl.flow import STAGE_TABLE, STAGES, Flow
from webscale_rl.llm.catalogue import Demonstration, Domain, Prompt, load_prompt
from webscale_rl.llm.completions import run_pass
from webscale_rl.llm.engines import Engines
from webscale_rl.llm.messages import IDENTITY_FIELDS
from webscale_rl.recipes import canonical_json, recipe_hash, sha256_file, sha256_text
from webscale_rl.stage_io import append, append_counting, asking_pass
from webscale_rl.stages import (
    check_steps,
    decontaminate,
    deduplicate,
    generate,
    identify,
    ingest,
    product,
    screen,
    segment,
)
from webscale_rl.stages import filter as filter_stage


@dataclass(frozen=True)
class Ingredients:
    """What recipes are made from: settings, engines and the data of the prompts. No Spark."""

    config: Config
    engines: Engines
    domains: list[Domain]
    demonstrations: dict[str, list[Demonstration]]


def bodies(ctx: Ingredients, stages: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The recipes' bodies of some stages (and of the check's steps) as the configuration has them.

    Raises:
        ConfigError: a prompt or benchmark file is missing or wrong.
        EngineUnavailableError: an engine that a stage names cannot work here.
    """
    config = ctx.config
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        if stage == "ingest":
            found[stage] = ingest.recipe_body(config.ingest)
        elif stage in ("filter", "deduplicate", "segment"):
            module = {"filter": filter_stage, "deduplicate": deduplicate, "segment": segment}[stage]
            found[stage] = {
                "stage": stage,
                "version": module.VERSION,
                "settings": getattr(config, stage).model_dump(mode="json"),
            }
            if stage == "filter":
                found[stage]["libraries"] = filter_stage.library_versions(config.filter)
        elif stage == "screen":
            prompt, identity = _asked(ctx, config.screen)
            found[stage] = screen.recipe_body(config.screen, prompt, identity, ctx.domains)
        elif stage == "identify":
            prompt, identity = _asked(ctx, config.identify)
            found[stage] = identify.recipe_body(config.identify, prompt, identity, ctx.domains)
        elif stage == "generate":
            prompt, identity = _asked(ctx, config.generate)
            found[stage] = generate.recipe_body(
                config.generate, prompt, identity, ctx.domains, ctx.demonstrations
            )
        elif stage == "check":
            found |= _check_bodies(ctx)
        elif stage == "decontaminate":
            found[stage] = _decontaminate_body(ctx)
    return found


def _asked(ctx: Ingredients, settings: Any) -> tuple[Prompt, dict[str, Any]]:
    prompt = load_prompt(find_file(settings.prompt, "prompts", ".yml"))
    identity = ctx.engines.get(settings.engine).identity
    # What does not change a reply (paths, sizes) is no part of a recipe.
    return prompt, {name: identity.get(name) for name in IDENTITY_FIELDS}


def _check_bodies(ctx: Ingredients) -> dict[str, dict[str, Any]]:
    settings = ctx.config.check
    found: dict[str, dict[str, Any]] = {}
    for step in check_steps.steps(settings):
        asking = settings.asking(step.kind)
        if asking is None:
            body = check_steps.step_body(step, settings)
            if step.kind == check_steps.DUPLICATE:
                # Which siblings a question is compared with depends on what the gates before let through.
                body["after"] = [recipe_hash(earlier) for earlier in found.values()]
            found[step.name] = body
            continue
        found[step.name] = check_steps.step_body(step, settings, *_asked(ctx, asking))
    found["check"] = {
        "stage": "check",
        "version": check_steps.VERSION,
        "gates": list(settings.gates),
        "steps": [recipe_hash(body) for body in found.values()],
    }
    return found


def _decontaminate_body(ctx: Ingredients) -> dict[str, Any]:
    settings = ctx.config.decontaminate
    hashes = []
    for path in settings.benchmarks:
        if "://" in path:
            # Read by Spark alone: its name must stand for what it holds.
            hashes.append(sha256_text(path))
        else:
            found = find_file(path)
            files = sorted(found.rglob("*")) if found.is_dir() else [found]
            hashes += [sha256_file(file) for file in files if file.is_file()]
    body = settings.model_dump(mode="json")
    body.pop("benchmarks")
    return {
        "stage": "decontaminate",
        "version": decontaminate.VERSION,
        "settings": body,
        # What the files hold counts, not where they lie.
        "benchmarks": sorted(hashes),
    }


def activate(ctx: Context, stages: list[str]) -> None:
    """Make this run's recipes of some stages known (`recipes`) and in force (`active`)."""
    wanted = {name: ctx.recipes[name] for name in stages}
    active = {row["stage"]: row["recipe"] for row in ctx.warehouse.read("active").collect()}
    changed = {name: recipe for name, recipe in wanted.items() if active.get(name) != recipe}
    if not changed:
        return
    known = {row["recipe"] for row in ctx.warehouse.read("recipes").select("recipe").collect()}
    fresh = [
        (recipe, name, canonical_json(ctx.bodies[name]), ctx.run)
        for name, recipe in changed.items()
        if recipe not in known
    ]
    if fresh:
        schema = ctx.warehouse.read("recipes").schema
        ctx.warehouse.append("recipes", ctx.spark.createDataFrame(fresh, schema))
    rest = [(name, recipe, ctx.run) for name, recipe in active.items() if name not in changed]
    rows = rest + [(name, recipe, ctx.run) for name, recipe in changed.items()]
    schema = ctx.warehouse.read("active").schema
    ctx.warehouse.replace("active", ctx.spark.createDataFrame(rows, schema))


def run_stage(ctx: Context, flow: Flow, stage: str, sources: DataFrame | None = None) -> None:
    """Bring one stage up to date.

    Args:
        sources: rows of the sources (`ingest.read_source`), for the stage ingest.
    """
    if stage == "ingest":
        if sources is not None:
            _run_ingest(ctx, flow, sources)
    elif stage == "deduplicate":
        run_deduplicate(ctx, flow, lambda rows: append_counting(ctx, "deduplicate", rows))
    elif stage in ("filter", "segment", "decontaminate"):
        _run_pure(ctx, flow, stage)
    elif stage == "screen":
        run_asking(ctx, flow, "screen", screen.shared_request, screen.finish)
    elif stage == "identify":
        run_asking(ctx, flow, "identify", screen.shared_request, identify.finish)
    elif stage == "generate":
        _run_generate(ctx, flow)
    elif stage == "check":
        run_check(ctx, flow)
    else:
        raise ConfigError(f"no stage {stage!r}: known are {', '.join(STAGES)}")


def _run_ingest(ctx: Context, flow: Flow, sources: DataFrame) -> None:
    ctx.warehouse.claim("documents")
    documents = ingest.apply(sources, ctx.config.ingest)
    fresh = ingest.news(documents, flow.documents()).withColumn("ingest_commit", F.lit(ctx.run))
    # Reading the sources twice (to count, then to write) would cost more than an empty commit.
    ctx.progress.begin("ingest", 0)
    append(ctx, "ingest", fresh)
    written = ctx.warehouse.read("documents").where(F.col("run") == ctx.run)
    counts = written.agg(
        F.count("*").alias("rows"), F.count_if(F.col("status") == "kept").alias("kept")
    ).collect()[0]
    if counts["rows"]:
        ctx.progress.begin("ingest", counts["rows"])
        ctx.progress.advance(counts["rows"], counts["kept"])
    ctx.progress.end()


def pure(ctx: Context, stage: str, rows: DataFrame) -> DataFrame:
    """What a stage without a model makes of its input rows."""
    if stage == "filter":
        return filter_stage.apply(rows, ctx.config.filter)
    if stage == "deduplicate":
        return deduplicate.apply(rows, ctx.config.deduplicate)
    if stage == "segment":
        return segment.apply(rows, ctx.config.segment)
    if stage == "decontaminate":
        settings = ctx.config.decontaminate
        paths = [str(find_file(p)) if "://" not in p else p for p in settings.benchmarks]
        items = decontaminate.load_benchmarks(ctx.spark, paths)
        return decontaminate.apply(rows, items, settings)
    raise ConfigError(f"no such stage: {stage!r}")


def _run_pure(ctx: Context, flow: Flow, stage: str) -> None:
    total = flow.pending_keys(stage).count()
    if not total:
        return
    ctx.warehouse.claim(STAGE_TABLE[stage])
    ctx.progress.begin(stage, total)
    ctx.progress.advance(total, append_counting(ctx, stage, pure(ctx, stage, flow.pending(stage))))
    ctx.progress.end()


def run_asking(
    ctx: Context,
    flow: Flow,
    stage: str,
    request: Callable[[dict[str, Any]], Any],
    finish: Callable[[DataFrame, dict[str, Any]], DataFrame],
) -> None:
    """A stage that asks once for each passage: screen and identify."""
    body = ctx.bodies[stage]
    if flow.pending_keys(stage).isEmpty():
        return
    ctx.warehouse.claim(STAGE_TABLE[stage])
    run_pass(
        ctx,
        asking_pass(
            ctx,
            stage,
            getattr(ctx.config, stage).engine,
            lambda: request(body),
            F.col("passage_key"),
            lambda completed: finish(completed, body),
            lambda rows: append(ctx, stage, rows),
        ),
        flow.pending(stage),
    )


def _run_generate(ctx: Context, flow: Flow) -> None:
    body = ctx.bodies["generate"]
    if flow.pending_keys("generate").isEmpty():
        return
    ctx.warehouse.claim("pairs")
    prepared = generate.prepare(flow.pending("generate"), body)
    if body["strategy"] == "answer_first":
        rest = generate.without_span(prepared, body)
        if not rest.isEmpty():
            append(ctx, "generate", rest)
        prepared = prepared.where(F.col("span").isNotNull())
    run_pass(
        ctx,
        asking_pass(
            ctx,
            "generate",
            ctx.config.generate.engine,
            lambda: generate.unit_request(body),
            generate.prefix(body),
            lambda completed: generate.finish(completed, body),
            lambda rows: append(ctx, "generate", rows),
        ),
        prepared,
    )


def models(ctx: Context) -> dict[str, str]:
    """Per step that asks a model: engine family and model hash, as the recipes in force name them."""
    return {
        name: f"{body['engine'].get('engine')}:{body['engine'].get('model')}"
        for name, body in sorted((_other_bodies(ctx) | ctx.bodies).items())
        if "engine" in body
    }


def _other_bodies(ctx: Context) -> dict[str, dict[str, Any]]:
    """Bodies in force of the stages that this run leaves alone, as the table `recipes` has them."""
    others = [name for name in ctx.recipes if name.partition(".")[0] not in ctx.bodies]
    if not others:
        return {}
    rows = ctx.warehouse.read("recipes").where(F.col("recipe").isin([ctx.recipes[name] for name in others]))
    by_recipe = {row["recipe"]: json.loads(row["body"]) for row in rows.collect()}
    found = {name: by_recipe[ctx.recipes[name]] for name in others if ctx.recipes[name] in by_recipe}
    # Steps that an earlier configuration's check had are still among the active ones.
    steps = found.get("check", {}).get("steps", [])
    return {
        name: body
        for name, body in found.items()
        if not name.startswith("check.") or ctx.recipes[name] in steps
    }


def publish(ctx: Context, flow: Flow, recipes: Mapping[str, str]) -> int:
    """Replace `qa_pairs` by the pairs as they stand, if they changed; their number."""
    rows = product.accepted(flow, models(ctx), recipes)
    now = product.fingerprint(rows).collect()[0]
    if ctx.warehouse.exists("qa_pairs"):
        before = product.fingerprint(ctx.warehouse.read("qa_pairs")).collect()[0]
        if now == before:
            return int(now["rows"])
    ctx.warehouse.replace("qa_pairs", rows)
    return int(now["rows"])
