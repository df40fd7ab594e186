"""The funnel and the tokens as they stand, for `status` and the end of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import functions as F

from webscale_rl.report.views import funnel
from webscale_rl.runtime.flow import Flow
from webscale_rl.storage.warehouse import Warehouse


@dataclass(frozen=True)
class StageStatus:
    """One stage's line: input rows by what became of them, and what the model was paid.

    Attributes:
        rows_in: current input rows (ingest: documents; segment: documents; generate: personas).
        kept, rejected, pending: they add up to rows_in.
        rows_out: kept output rows.
        reasons: reason to number of rejected rows that have it (a row may have several).
        failed: requests that were tried, failed, and have no reply yet.
        requests, prompt_tokens, cached_tokens, completion_tokens, seconds: calls under this stage's
            name, of all runs and recipes.
        engines_built, engines_reused: tasks of these calls that loaded the engine, and that found it up.
    """

    stage: str
    rows_in: int
    kept: int
    rejected: int
    pending: int
    rows_out: int
    reasons: dict[str, int]
    failed: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    engines_built: int
    engines_reused: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def stage_statuses(warehouse: Warehouse, flow: Flow) -> list[StageStatus]:
    """Every stage's line, in order; the check's gates count under the check."""
    spent = _spent(warehouse)
    failed = _failed(warehouse)
    rows = {row["stage"]: row.asDict(recursive=True) for row in funnel(flow).collect()}
    flow.release()
    found = []
    for stage in flow.stages.names:
        counts = rows[stage]
        counts.pop("number")
        calls = spent.get(stage, {})
        found.append(
            StageStatus(
                **counts | {"reasons": counts["reasons"] or {}},
                failed=failed.get(stage, 0),
                requests=int(calls.get("requests") or 0),
                prompt_tokens=int(calls.get("prompt") or 0),
                cached_tokens=int(calls.get("cached") or 0),
                completion_tokens=int(calls.get("completion") or 0),
                seconds=float(calls.get("seconds") or 0.0),
                engines_built=int(calls.get("built") or 0),
                engines_reused=int(calls.get("reused") or 0),
            )
        )
    return found


def _spent(warehouse: Warehouse) -> dict[str, dict[str, Any]]:
    rows = (
        warehouse.read("completions")
        .groupBy(F.substring_index("stage", ".", 1).alias("stage"))
        .agg(
            F.count("*").alias("requests"),
            F.sum("prompt_tokens").alias("prompt"),
            F.sum("cached_tokens").alias("cached"),
            F.sum("completion_tokens").alias("completion"),
            F.sum("seconds").alias("seconds"),
            F.count_if(F.col("load_seconds") > 0).alias("built"),
            F.count_if(F.col("load_seconds") == 0).alias("reused"),
        )
        .collect()
    )
    return {row["stage"]: row.asDict() for row in rows}


def _failed(warehouse: Warehouse) -> dict[str, int]:
    attempts = warehouse.read("attempts").select(
        "request_id", F.substring_index("stage", ".", 1).alias("stage")
    )
    done = warehouse.read("completions").select("request_id")
    rows = attempts.distinct().join(done, "request_id", "left_anti").groupBy("stage").count().collect()
    return {row["stage"]: int(row["count"]) for row in rows}
