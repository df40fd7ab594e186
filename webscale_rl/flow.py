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
    identifier those with the text that was ingested last (several where the input repeats a row).

    Args:
        documents: the table `documents`, all recipes and commits; or its columns document_key, source,
            source_id, status, ingest_commit and run with any others.

    Returns:
        The rows of the same columns that are in force; superseded ones are left out.
    """
    by_key = Window.partitionBy("document_key").orderBy(F.desc("ingest_commit"), F.desc("run"), "status")
    last = documents.withColumn("_n", F.row_number().over(by_key)).where("_n = 1").drop("_n")
    # Rows without an identifier supersede nothing: their own key is their identifier.
    identifier = F.when(
        (F.col("status") == "kept") & F.col("source_id").isNotNull(),
        F.concat_ws("\x1f", F.lit("id"), "source", "source_id"),
    ).otherwise(F.concat_ws("\x1f", F.lit("key"), "document_key"))
    newest = F.max(F.struct("ingest_commit", "content_hash"))
    return (
        last.withColumn("_identifier", identifier)
        .withColumn("_newest", newest.over(Window.partitionBy("_identifier")))
        .where("content_hash <=> _newest.content_hash")
        .drop("_identifier", "_newest")
    )


def kept(rows: DataFrame) -> DataFrame:
    """The rows with status kept."""
    return rows.where(F.col("status") == "kept")


def pair_key(recipe: str | None) -> Column:
    """Key of the pair that one persona of a passage gives under a generate recipe."""
    parts = ["passage_key", "domain", "persona", "interest", "ordinal"]
    return F.sha2(F.concat_ws("\x1f", F.lit(recipe or ""), *[F.col(p).cast("string") for p in parts]), 256)


class Flow:
    """The current rows of every stage, given how to read a table and which recipes are in force.

    What is current is found out with keys alone (`keys`); texts are joined at the end (`inputs`).

    Args:
        read: a table's name to its frame (a plan reads tables with computed rows added).
        recipes: recipe in force by stage; a stage without one has no rows.
        limit: only documents with the so many smallest keys count as pending work.
        persist: compute each stage's frame of keys once, when it is first looked at. Right where a
            stage is looked at when the ones before have written all they will; call `release` after
            ingest, which looks at the documents before it writes.
    """

    def __init__(
        self,
        read: Callable[[str], DataFrame],
        recipes: Mapping[str, str],
        limit: int | None = None,
        persist: bool = False,
    ) -> None:
        self.read = read
        self.recipes = recipes
        self.limit = limit
        self._persist = persist
        self._held: dict[str, DataFrame] = {}

    def _of_recipe(self, stage: str) -> DataFrame:
        rows = self.read(STAGE_TABLE[stage])
        return rows.where(F.col("recipe") == F.lit(self.recipes.get(stage, "")))

    def _once(self, name: str, make: Callable[[], DataFrame]) -> DataFrame:
        if not self._persist:
            return make()
        if name not in self._held:
            # Cut off from its plan: the keys of the ninth stage would else be planned from the first on.
            self._held[name] = make().localCheckpoint()
        return self._held[name]

    def release(self) -> None:
        """Forget what `persist` keeps."""
        self._held.clear()

    # -- keys ----------------------------------------------------------------------------------

    def _document_keys(self) -> DataFrame:
        columns = (
            *("document_key", "source", "source_id", "content_hash"),
            *("status", "ingest_commit", "run"),
        )
        return self._once("documents", lambda: current_documents(self.read("documents").select(*columns)))

    def keys(self, stage: str) -> DataFrame:
        """The keys of a stage's current input.

        Returns:
            document_key for filter, deduplicate and segment; passage_key, document_key for screen and
            identify; pair_key, passage_key, document_key for check and decontaminate, and with domain,
            persona, interest, ordinal for generate.
        """
        return self._once(f"keys {stage}", lambda: self._keys(stage))

    def _keys(self, stage: str) -> DataFrame:
        if stage == "filter":
            return kept(self._document_keys()).select("document_key")
        before = STAGES[STAGES.index(stage) - 1]
        if stage in ("deduplicate", "segment"):
            passed = kept(self._of_recipe(before) if before == "filter" else self.rows(before))
            return self.keys(before).join(passed.select("document_key"), "document_key", "left_semi")
        if stage == "screen":
            passages = kept(self._of_recipe("segment")).select("passage_key", "document_key")
            return passages.join(self.keys("segment"), "document_key", "left_semi")
        if stage == "generate":
            return self._units()
        key = INPUT_KEY[stage]
        passed = kept(self._of_recipe(before)).select(key)
        given = self.keys(before)
        columns = [c for c in ("pair_key", "passage_key", "document_key") if c in given.columns]
        return given.select(*columns).join(passed, key, "left_semi")

    def _units(self) -> DataFrame:
        """One row a (passage, persona), with the key that its pair will have."""
        personas = kept(self._of_recipe("identify")).select(
            "passage_key", "domain", F.posexplode("personas").alias("ordinal", "_persona")
        )
        return (
            self.keys("identify")
            .join(personas, "passage_key")
            .select(
                "passage_key",
                "document_key",
                "domain",
                F.col("_persona.name").alias("persona"),
                F.col("_persona.interest").alias("interest"),
                "ordinal",
            )
            .withColumn("pair_key", pair_key(self.recipes.get("generate")))
        )

    # -- rows ----------------------------------------------------------------------------------

    def documents(self) -> DataFrame:
        """The documents in force, kept and rejected, with their texts."""
        in_force = self._document_keys().select("document_key", "ingest_commit", "run")
        return self.read("documents").join(in_force, ["document_key", "ingest_commit", "run"], "left_semi")

    def rows(self, stage: str) -> DataFrame:
        """A stage's rows in force: those of its current input under its recipe."""
        if stage == "ingest":
            return self.documents()
        rows = self.duplicate_verdicts() if stage == "deduplicate" else self._of_recipe(stage)
        key = INPUT_KEY[stage]
        return rows.join(self.keys(stage).select(key), key, "left_semi")

    def duplicate_verdicts(self) -> DataFrame:
        """The newest verdict of deduplicate on each document, also on those that are no longer current."""
        newest = Window.partitionBy("document_key").orderBy(F.desc("run"))
        rows = self._of_recipe("deduplicate").withColumn("_n", F.row_number().over(newest))
        return rows.where("_n = 1").drop("_n")

    def inputs(self, stage: str, keys: DataFrame | None = None) -> DataFrame:
        """The rows of a stage's current input (or those of ``keys``) with all that it works from."""
        keys = self.keys(stage) if keys is None else keys
        if stage in ("filter", "segment"):
            texts = self.documents().select("document_key", "title", "text")
            return texts.join(keys, "document_key", "left_semi")
        if stage == "deduplicate":
            hashes = self._document_keys().select("document_key", "content_hash", "ingest_commit")
            return hashes.join(keys, "document_key", "left_semi")
        passages = kept(self._of_recipe("segment"))
        if stage in ("screen", "identify"):
            columns = ("passage_key", "document_key", "ordinal", "title", "text", "tokens")
            return passages.select(*columns).join(keys, "passage_key", "left_semi")
        texts = passages.select("passage_key", "title", "text")
        if stage == "generate":
            return keys.join(texts, "passage_key")
        pairs = kept(self._of_recipe("generate")).join(keys, "pair_key", "left_semi")
        if stage == "check":
            return pairs.join(texts.withColumnRenamed("text", "passage"), "passage_key")
        return pairs

    def pending_keys(self, stage: str) -> DataFrame:
        """The keys of a stage's input rows that have no row yet, within the limit."""
        key = INPUT_KEY[stage]
        done = self._of_recipe(stage).select(key)
        return self.limited(self.keys(stage).join(done, key, "left_anti"))

    def pending(self, stage: str) -> DataFrame:
        """The input rows of a stage that have no row yet, within the limit."""
        return self.inputs(stage, self.pending_keys(stage))

    def limited(self, rows: DataFrame) -> DataFrame:
        """Only the rows of the first documents, where a limit is set."""
        if self.limit is None:
            return rows
        first = kept(self._document_keys()).select("document_key").orderBy("document_key").limit(self.limit)
        return rows.join(first, "document_key", "left_semi")
