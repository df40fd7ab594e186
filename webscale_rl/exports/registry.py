"""What turns the product into a trainer's data: one object a trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pyspark.sql import DataFrame

from webscale_rl.core.registry import Registry


class Exporter(ABC):
    """One trainer's form of the pairs.

    Attributes:
        name: what `webscale-rl export --to` calls it.
        summary: which trainer reads it, in one line.
        form: what its loader reads: Parquet files or JSON lines.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    form: ClassVar[Literal["parquet", "json"]] = "parquet"

    @abstractmethod
    def rows(self, pairs: DataFrame) -> DataFrame:
        """The accepted pairs (columns of the table `qa_pairs`) as the trainer's rows."""


#: Every exporter by name.
EXPORTERS: Registry[Exporter] = Registry("exporter")
