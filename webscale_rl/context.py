"""What a stage works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from webscale_rl.budget import Budget
from webscale_rl.progress import Progress

if TYPE_CHECKING:
    from webscale_rl.config import Config
    from webscale_rl.llm.catalogue import Demonstration, Domain
    from webscale_rl.llm.engines import Engines
    from webscale_rl.warehouse import Warehouse


@dataclass
class Context:
    """Everything that a stage needs to find, do and write its work.

    Attributes:
        recipes: recipe in force, by stage or gate, as this configuration makes it.
        bodies: the recipes' bodies, by stage or gate.
        limit: only the documents with the so many smallest keys are worked on; None for all.
        rebuild_duplicates: deduplicate judges all documents again, as if they came in at once.
    """

    spark: SparkSession
    warehouse: Warehouse
    config: Config
    engines: Engines
    domains: list[Domain]
    demonstrations: dict[str, list[Demonstration]]
    budget: Budget = field(default_factory=Budget)
    progress: Progress = field(default_factory=Progress)
    recipes: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    limit: int | None = None
    rebuild_duplicates: bool = False

    @property
    def run(self) -> int:
        """Epoch of this run; 0 where nothing is written (plan, status)."""
        return self.warehouse.lease.epoch if self.warehouse.lease is not None else 0
