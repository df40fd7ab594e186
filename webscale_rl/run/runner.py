"""A run's stages, one after the other, and the product at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webscale_rl.core.stage import Stage
from webscale_rl.run.recipes import models
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.stages.publish import accepted, fingerprint


def run_stages(context: Context, stages: Sequence[Stage[Any]]) -> None:
    """Bring some stages up to date, in order.

    Raises:
        BudgetReachedError: a limit was reached; what was finished is kept.
    """
    for stage in stages:
        stage.run(context)


def publish(context: Context) -> int:
    """Replace `qa_pairs` by the pairs as they stand, if they changed; their number."""
    flow = context.flow
    if context.limit is not None:  # all pairs, whatever part of the documents this run was limited to
        flow = Flow(context.stages, context.warehouse.read, context.recipes, persist=context.persist)
    in_force = {stage: context.recipes.get(stage, "") for stage in context.stages.names}
    rows = accepted(flow, models(context), in_force)
    now = fingerprint(rows).collect()[0]
    if context.warehouse.exists("qa_pairs"):
        before = fingerprint(context.warehouse.read("qa_pairs")).collect()[0]
        if now == before:
            return int(now["rows"])
    context.warehouse.replace("qa_pairs", rows)
    return int(now["rows"])
