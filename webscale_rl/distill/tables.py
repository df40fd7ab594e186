"""Training examples out of the project's own tables: what a step was asked, and what it replied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.suggest import nearest
from webscale_rl.errors import ConfigError
from webscale_rl.llm.requests import request_id
from webscale_rl.report import views
from webscale_rl.runtime.flow import Flow
from webscale_rl.stages.check.tables import GATE_VERDICTS
from webscale_rl.stages.registry import STAGES, asker, askers
from webscale_rl.storage.warehouse import Warehouse


def steps() -> dict[str, str]:
    """The steps that a small model can be taught: a stage's or a gate's name, to that of its recipe.

    A gate that is called like a stage has its recipe's name.
    """
    found: dict[str, str] = {}
    for name in askers():
        short = name.rpartition(".")[2]
        found[name if short in found else short] = name
    return found


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

    Of screen, identify and judge every reply that could be read: rejections are lessons, too. Of generate
    the replies behind accepted pairs; of the round trips those that confirmed their answer.

    Raises:
        ConfigError: no such step, or it never ran here.
    """
    known = steps()
    if step not in known:
        raise ConfigError(f"no step {step!r} to distill{nearest(step, known)}: known are {', '.join(known)}")
    name = known[step]
    asks = asker(name)
    recipes = views.active_recipes(warehouse)
    body = _body(warehouse, recipes, name)
    flow = Flow(STAGES, warehouse.read, recipes)
    prepared = asks.prepare(flow.inputs(name.partition(".")[0]), body)
    rows = prepared.select("document_key", asks.request(body).alias("request"))
    rows = rows.withColumn("request_id", request_id(F.col("request")))
    worth = _worth(warehouse, flow, name, recipes[name], asks.lessons).select("request_id").distinct()
    replies = warehouse.read("completions").where("error IS NULL AND text IS NOT NULL")
    columns = ("request_id", "text", "prompt_tokens", "cached_tokens", "completion_tokens")
    found = (
        rows.dropDuplicates(["request_id"])
        .join(worth, "request_id", "left_semi")
        .join(replies.select(*columns).dropDuplicates(["request_id"]), "request_id")
    )
    return Teacher(found.drop("request_id"), asks.reply_schema(body), body["engine"])


def _body(warehouse: Warehouse, recipes: Mapping[str, str], name: str) -> dict[str, Any]:
    known = warehouse.read("recipes").where(F.col("recipe") == recipes.get(name, "")).select("body").collect()
    if not known:
        raise ConfigError(f"{name} never ran in this warehouse: run it with the teacher's engine first")
    body: dict[str, Any] = json.loads(known[0]["body"])
    return body


def _worth(warehouse: Warehouse, flow: Flow, name: str, recipe: str, lessons: str) -> DataFrame:
    """Rows with the request_id of every reply that is worth learning from."""
    stage, _, gate = name.partition(".")
    rows = flow.rows(stage)
    if gate:
        rows = warehouse.read(GATE_VERDICTS.name).where((F.col("gate") == gate) & (F.col("recipe") == recipe))
    if lessons == "passed":
        return rows.where("passed")
    if lessons == "accepted":
        accepted = STAGES.last.kept_keys(flow).select("pair_key")
        return rows.join(accepted, "pair_key", "left_semi")
    return rows
