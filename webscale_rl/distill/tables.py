"""Training examples out of the project's own tables: what a step was asked, and what it replied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.errors import ConfigError
from webscale_rl.flow import Flow
from webscale_rl.llm.messages import request_id
from webscale_rl.report import views
from webscale_rl.stages import check, check_steps, generate, screen
from webscale_rl.warehouse import Warehouse

#: Steps that a small model can be taught.
STEPS = ("screen", "identify", "generate", *check_steps.ROUND_TRIPS, check_steps.JUDGE)


@dataclass(frozen=True)
class Teacher:
    """What a step was asked and replied, and who replied.

    Attributes:
        rows: document_key, request (canonical JSON), text, prompt_tokens, cached_tokens, completion_tokens.
        schema: the replies' JSON schema; None for free text or a choice.
        engine: the identity of the engine that replied.
    """

    rows: DataFrame
    schema: dict[str, Any] | None
    engine: Mapping[str, Any]


def teacher(warehouse: Warehouse, step: str) -> Teacher:
    """The replies of a step under its recipe in force, that are worth learning from.

    Of screen, identify and judge every reply that could be read: their noes are lessons, too. Of generate
    the replies behind accepted pairs; of the round trips those that confirmed their answer.

    Raises:
        ConfigError: no such step, or it never ran here.
    """
    if step not in STEPS:
        raise ConfigError(f"no step {step!r} to distill: known are {', '.join(STEPS)}")
    name = step if step in ("screen", "identify", "generate") else f"check.{step}"
    recipes = views.active_recipes(warehouse)
    body = _body(warehouse, recipes, name)
    flow = Flow(warehouse.read, recipes)
    rows = _asked(flow, step, body).withColumn("request_id", request_id(F.col("request")))
    worth = _worth(warehouse, flow, step, recipes[name]).select("request_id").distinct()
    replies = warehouse.read("completions").where("error IS NULL AND text IS NOT NULL")
    columns = ("request_id", "text", "prompt_tokens", "cached_tokens", "completion_tokens")
    found = (
        rows.dropDuplicates(["request_id"])
        .join(worth, "request_id", "left_semi")
        .join(replies.select(*columns).dropDuplicates(["request_id"]), "request_id")
    )
    schema = (
        screen.reply_schema(body) if step in ("screen", "identify") else body["prompt"].get("response_schema")
    )
    return Teacher(found.drop("request_id"), schema, body["engine"])


def _body(warehouse: Warehouse, recipes: Mapping[str, str], name: str) -> dict[str, Any]:
    known = warehouse.read("recipes").where(F.col("recipe") == recipes.get(name, "")).select("body").collect()
    if not known:
        raise ConfigError(f"{name} never ran in this warehouse: run it with the teacher's engine first")
    body: dict[str, Any] = json.loads(known[0]["body"])
    return body


def _asked(flow: Flow, step: str, body: dict[str, Any]) -> DataFrame:
    if step in ("screen", "identify"):
        return flow.inputs(step).select("document_key", screen.shared_request(body).alias("request"))
    if step == "generate":
        rows = generate.prepare(flow.inputs("generate"), body)
        return rows.select("document_key", generate.unit_request(body).alias("request"))
    gate = check_steps.Step(f"check.{step}", step, (step,))
    rows = check.prepare(flow.inputs("check"), gate, body)
    return rows.select("document_key", check.gate_request(body, gate).alias("request"))


def _worth(warehouse: Warehouse, flow: Flow, step: str, recipe: str) -> DataFrame:
    """Rows with the request_id of every reply that is worth learning from."""
    if step in ("screen", "identify"):
        return flow.rows(step)
    if step == "generate":
        accepted = flow.rows("decontaminate").where("status = 'kept'").select("pair_key")
        return flow.rows("generate").join(accepted, "pair_key", "left_semi")
    verdicts = warehouse.read("gate_verdicts").where((F.col("gate") == step) & (F.col("recipe") == recipe))
    return verdicts if step == check_steps.JUDGE else verdicts.where("passed")
