"""The recipes of a run: made from settings, engines and data, and put in force."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import canonical_json
from webscale_rl.core.stage import Body, Stage
from webscale_rl.llm.parts import Parts
from webscale_rl.runtime.context import Context


def bodies(parts: Parts, stages: Sequence[Stage[Any]]) -> dict[str, Body]:
    """The recipes' bodies of some stages, and of the steps within them, as the configuration has them.

    Raises:
        ConfigError: a prompt or benchmark file is missing or wrong.
        EngineUnavailableError: an engine that a stage names cannot work here.
    """
    found: dict[str, Body] = {}
    for stage in stages:
        found |= stage.recipes(parts)
    return found


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


def models(ctx: Context) -> dict[str, str]:
    """Per step that asks a model: engine family and model hash, as the recipes in force name them."""
    return {
        name: f"{body['engine'].get('engine')}:{body['engine'].get('model')}"
        for name, body in sorted((_other_bodies(ctx) | ctx.bodies).items())
        if "engine" in body
    }


def _other_bodies(ctx: Context) -> dict[str, dict[str, Any]]:
    """Bodies in force of the stages that this run leaves alone, as the table `recipes` has them."""
    stages = {name: name.partition(".")[0] for name in ctx.recipes}
    others = [name for name, stage in stages.items() if stage not in ctx.bodies and stage in ctx.stages]
    if not others:
        return {}
    rows = ctx.warehouse.read("recipes").where(F.col("recipe").isin([ctx.recipes[name] for name in others]))
    by_recipe = {row["recipe"]: json.loads(row["body"]) for row in rows.collect()}
    found = {name: by_recipe[ctx.recipes[name]] for name in others if ctx.recipes[name] in by_recipe}
    # Steps of an earlier configuration are still among the active ones.
    return {name: body for name, body in found.items() if _is_of_its_stage(name, ctx.recipes[name], found)}


def _is_of_its_stage(name: str, recipe: str, bodies: dict[str, Body]) -> bool:
    stage, _, step = name.partition(".")
    return not step or recipe in bodies.get(stage, {}).get("steps", [])
