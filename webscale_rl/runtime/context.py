"""What a stage works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from webscale_rl.core.stage import Chain
from webscale_rl.llm.parts import Parts
from webscale_rl.runtime.budget import Budget
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.progress import Progress
from webscale_rl.storage.warehouse import Warehouse


@dataclass
class Context:
    """Everything that a stage needs to find, do and write its work.

    Attributes:
        stages: the chain.
        parts: settings of all stages, engines, and the data of the prompts.
        recipes: recipe in force, by stage or step, as this configuration makes it.
        bodies: the recipes' bodies, by stage or step.
        limit: only that many documents, those with the smallest keys, are worked on; None for all.
        sources: rows of the sources, for the stage that ingests them; None where none are read.
        rebuild_duplicates: deduplicate judges all documents again, as if they came in at once.
        persist: whether frames of keys are computed once (`Flow`).
    """

    spark: SparkSession
    warehouse: Warehouse
    stages: Chain
    parts: Parts
    budget: Budget = field(default_factory=Budget)
    progress: Progress = field(default_factory=Progress)
    recipes: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    sources: DataFrame | None = None
    rebuild_duplicates: bool = False
    persist: bool = False

    def __post_init__(self) -> None:
        self.flow = Flow(self.stages, self.warehouse.read, self.recipes, self.limit, self.persist)

    @property
    def run(self) -> int:
        """Epoch of this run; 0 where nothing is written (plan, status)."""
        return self.warehouse.lease.epoch if self.warehouse.lease is not None else 0
