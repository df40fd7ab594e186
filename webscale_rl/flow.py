"""Which rows are current, and which are pending, at every stage.

A stage's current input is what the stage before it keeps under the recipe in force; its pending work is
one anti-join: current input keys less those that have a row under its own recipe. Nothing here runs
Spark jobs: every function gives a lazy frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

STAGES = (
    "ingest",
    "filter",
    "deduplicate",
    "segment",
    "screen",
    "identify",
    "generate",
    "check",
    "decontaminate",
)
STAGE_TABLE = {
    "ingest": "documents",
    "filter": "filtered",
    "deduplicate": "deduplicated",
    "segment": "passages",
    "screen": "screened",
    "identify": "identified",
    "generate": "pairs",
    "check": "checked",
    "decontaminate": "decontaminated",
}
# What one row of a stage's input is, and the key that its rows are matched by.
INPUT_KEY = {
    "ingest": "document_key",
    "filter": "document_key",
    "deduplicate": "document_key",
    "segment": "document_key",
    "screen": "passage_key",
    "identify": "passage_key",
    "generate": "pair_key",
    "check": "pair_key",
    "decontaminate": "pair_key",
}


def current_documents(documents: DataFrame) -> DataFrame:
    """The documents as they stand: the last row of each key, and of the kept ones with one
    identifier the last ingested.

    Args:
        documents: the table `documents`, all recipes and commits.

    Returns:
        The rows of the same columns that are in force; superseded ones are left out.
    """
    by_key = Window.partitionBy("document_key").orderBy(
        F.desc("ingest_commit"), F.desc("run"), "status"
    )
    last = documents.withColumn("_n", F.row_number().over(by_key)).where("_n = 1").drop("_n")
    # Rows without an identifier supersede nothing: their own key is their identifier.
    identifier = F.when(
        (F.col("status") == "kept") & F.col("source_id").isNotNull(),
        F.concat_ws("\x1f", F.lit("id"), "source", "source_id"),
    ).otherwise(F.concat_ws("\x1f", F.lit("key"), "document_key"))
    newest = Window.partitionBy("_identifier")
    return (
        last.withColumn("_identifier", identifier)
        .withColumn("_newest", F.max("ingest_commit").over(newest))
        .where("ingest_commit = _newest")
        .drop("_identifier", "_newest")
    )


def kept(rows: DataFrame) -> DataFrame:
    """The rows with status kept."""
    return rows.where(F.col("status") == "kept")


def pair_key(recipe: str | None) -> Column:
    """Key of the pair that one persona of a passage gives under a generate recipe."""
    parts = ["passage_key", "domain", "persona", "interest", "ordinal"]
    return F.sha2(
        F.concat_ws("\x1f", F.lit(recipe or ""), *[F.col(p).cast("string") for p in parts]), 256
    )


class Flow:
    """The current rows of every stage, given how to read a table and which recipes are in force.

    Args:
        read: a table's name to its frame (a plan reads tables with computed rows added).
        recipes: recipe in force by stage; a stage without one has no rows.
        limit: only documents with the so many smallest keys count as pending work.
    """

    def __init__(
        self,
        read: Callable[[str], DataFrame],
        recipes: Mapping[str, str],
        limit: int | None = None,
    ) -> None:
        self.read = read
        self.recipes = recipes
        self.limit = limit

    def _of_recipe(self, stage: str) -> DataFrame:
        rows = self.read(STAGE_TABLE[stage])
        return rows.where(F.col("recipe") == F.lit(self.recipes.get(stage, "")))

    def documents(self) -> DataFrame:
        """The documents in force, kept and rejected."""
        return current_documents(self.read("documents"))

    def inputs(self, stage: str) -> DataFrame:
        """What a stage has to have a row for: the key, and every column that it works from."""
        if stage == "filter":
            return kept(self.documents()).select("document_key", "title", "text")
        if stage == "deduplicate":
            return (
                kept(self.documents())
                .join(
                    kept(self._of_recipe("filter")).select("document_key"),
                    "document_key",
                    "left_semi",
                )
                .select("document_key", "content_hash", "ingest_commit")
            )
        if stage == "segment":
            return (
                kept(self.documents())
                .join(
                    kept(self.rows("deduplicate")).select("document_key"),
                    "document_key",
                    "left_semi",
                )
                .select("document_key", "title", "text")
            )
        if stage == "screen":
            return self._passages()
        if stage == "identify":
            return self._passages().join(
                kept(self._of_recipe("screen")).select("passage_key"), "passage_key", "left_semi"
            )
        if stage == "generate":
            return self._units()
        if stage == "check":
            return kept(self.rows("generate")).join(
                self._passages().select("passage_key", "title", F.col("text").alias("passage")),
                "passage_key",
            )
        if stage == "decontaminate":
            return kept(self.rows("generate")).join(
                kept(self._of_recipe("check")).select("pair_key"), "pair_key", "left_semi"
            )
        raise KeyError(stage)

    def _passages(self) -> DataFrame:
        return kept(self.rows("segment")).select(
            "passage_key", "document_key", "ordinal", "title", "text", "tokens"
        )

    def _units(self) -> DataFrame:
        """One row a (passage, persona), with the key that its pair will have."""
        personas = kept(self._of_recipe("identify")).select(
            "passage_key", "domain", F.posexplode("personas").alias("ordinal", "_persona")
        )
        return (
            self._passages()
            .drop("ordinal")
            .join(personas, "passage_key")
            .select(
                "passage_key",
                "document_key",
                "title",
                "text",
                "domain",
                F.col("_persona.name").alias("persona"),
                F.col("_persona.interest").alias("interest"),
                "ordinal",
            )
            .withColumn("pair_key", pair_key(self.recipes.get("generate")))
        )

    def rows(self, stage: str) -> DataFrame:
        """A stage's rows in force: those of its current input under its recipe."""
        if stage == "ingest":
            return self.documents()
        rows = self._of_recipe(stage)
        if stage == "deduplicate":
            newest = Window.partitionBy("document_key").orderBy(F.desc("run"))
            rows = rows.withColumn("_n", F.row_number().over(newest)).where("_n = 1").drop("_n")
        key = INPUT_KEY[stage]
        return rows.join(self.inputs(stage).select(key).distinct(), key, "left_semi")

    def pending(self, stage: str) -> DataFrame:
        """The input rows of a stage that have no row yet."""
        key = INPUT_KEY[stage]
        waiting = self.inputs(stage).join(self._of_recipe(stage).select(key), key, "left_anti")
        return self.limited(waiting)

    def limited(self, rows: DataFrame) -> DataFrame:
        """Only the rows of the first documents, where a limit is set."""
        if self.limit is None:
            return rows
        first = (
            kept(self.documents()).select("document_key").orderBy("document_key").limit(self.limit)
        )
        return rows.join(first, "document_key", "left_semi")
