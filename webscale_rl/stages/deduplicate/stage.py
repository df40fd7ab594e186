"""deduplicate: whether a document stands for itself, or which one stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from webscale_rl.core.stage import Subject
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.frame_stage import FrameStage
from webscale_rl.runtime.passes.write import append_counting
from webscale_rl.runtime.planning import Planning
from webscale_rl.stages.deduplicate.copies import VERSION, DeduplicateSettings, apply, pending, standing
from webscale_rl.stages.deduplicate.incremental import run_deduplicate
from webscale_rl.stages.deduplicate.tables import BAND_INDEX, BRIDGES, DEDUPLICATE_FIGURES, DEDUPLICATED
from webscale_rl.text.layout import short


class DeduplicateStage(FrameStage[DeduplicateSettings]):
    """The stage deduplicate: it works upon what is there, where `transform` knows its rows only."""

    name = "deduplicate"
    version = VERSION
    after = "filter"
    summary = "find the copies among the documents"
    subject = Subject.DOCUMENT
    table = DEDUPLICATED
    side_tables = (BAND_INDEX, BRIDGES, DEDUPLICATE_FIGURES)
    settings = DeduplicateSettings

    def inputs(self, flow: Flow, keys: DataFrame) -> DataFrame:
        """document_key, content_hash, ingest_commit: texts are read for candidates only."""
        hashes = flow.document_keys().select("document_key", "content_hash", "ingest_commit")
        return hashes.join(keys, "document_key", "left_semi")

    def verdicts(self, flow: Flow) -> DataFrame:
        """The newest verdict on each document."""
        newest = Window.partitionBy("document_key").orderBy(F.desc("run"))
        rows = flow.of_recipe(self.name).withColumn("_n", F.row_number().over(newest))
        return rows.where("_n = 1").drop("_n")

    def run(self, context: Context, keys: DataFrame | None = None) -> None:
        """Judge the documents without a verdict, and the clusters whose representative is gone.

        A document is compared with all others, so ``keys`` changes nothing.
        """
        run_deduplicate(context, lambda rows: append_counting(context, self, rows))

    def waiting(self, planning: Planning) -> DataFrame:
        """The documents to judge; copies are looked for among them alone, the kept index is left for the
        run.
        """
        flow = planning.flow
        waiting = flow.limited(pending(standing(flow.inputs(self.name), self.verdicts(flow))))
        return waiting.join(flow.documents().select("document_key", "text"), "document_key")

    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """`apply`."""
        return apply(rows, self.section(context.parts.sections))

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """Which document stands for it."""
        if row["representative_key"] in (None, row["document_key"]):
            return []
        return [("", f"{short(row['representative_key'])} stands for it ({row['method']})")]


STAGE = DeduplicateStage()
