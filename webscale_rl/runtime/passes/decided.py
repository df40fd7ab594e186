"""Permanent faults that other settings can mend, and the rows that rest on them.

A prompt that is too long stays so until the context is raised. Such a fault remembers what decided it
(`completions.decided_by`). Once that differs, the fault is no outcome any more: rows that rest on it are
deleted, so that they are pending, and it goes to `attempts` when its request is asked again.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import canonical_json
from webscale_rl.llm.engines import Engine
from webscale_rl.runtime.context import Context

#: Which of an engine's facts (`Engine.decides`) decide a fault, by its short name; None for all of them.
DECIDING: dict[str, tuple[str, ...] | None] = {
    "prompt_too_long": ("context", "max_model_len", "endpoint"),
    "refused_schema": ("schemas", "response_format", "structured_outputs", "package"),
    "refused_adapter": ("adapter",),
    "kills_engine": None,
}


def decided_by(engine: Engine, fault: Column, error: Column) -> Column:
    """What decides a fault at an engine as it is now, as canonical JSON; null where nothing does.

    Args:
        fault, error: of a completion.
    """
    facts: Column = F.lit(None).cast("string")
    name = F.trim(F.substring_index(error, ":", 1))
    for short_name, deciding in DECIDING.items():
        found = {fact: engine.facts[fact] for fact in engine.facts if deciding is None or fact in deciding}
        facts = F.when(name == short_name, canonical_json(found)).otherwise(facts)
    return F.when(fault == "permanent", facts)


def is_outcome() -> Column:
    """Whether a completion is an outcome: a reply, or a permanent fault of its request."""
    return F.coalesce(F.col("fault"), F.lit("permanent")) == "permanent"


def stands(engine: Engine) -> Column:
    """Whether a row of `completions` is an outcome for an engine as it is now."""
    now = decided_by(engine, F.col("fault"), F.col("error"))
    return is_outcome() & (now.isNull() | now.eqNullSafe(F.col("decided_by")))


def outdated(context: Context, rows: DataFrame, engine: Engine) -> DataFrame:
    """Of a stage's rows those that were rejected for a fault that no longer stands.

    Args:
        rows: with request_id, and reasons array<string> or reason string. Without request_id none is found.
    """
    if "request_id" not in rows.columns:
        return rows.where("false")
    reason = F.col("reason") if "reason" in rows.columns else F.get("reasons", 0)
    doubtful = rows.where(F.col("request_id").isNotNull() & reason.isin(*DECIDING))
    if doubtful.isEmpty():  # nearly always, and quicker found out than the join
        return rows.where("false")
    faults = context.warehouse.read("completions").where((F.col("fault") == "permanent") & stands(engine))
    return doubtful.join(faults.select("request_id"), "request_id", "left_anti")


def reopen(context: Context, table: str, rows: DataFrame) -> None:
    """Delete rows of a stage's table, so that they are pending.

    Args:
        rows: the key of the table.
    """
    if not rows.isEmpty():
        context.warehouse.delete(table, rows)
