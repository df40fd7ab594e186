"""Which rows are current, and which are pending, at every stage.

A stage's current input is what the stage before it keeps under the recipe in force; its pending work is
one anti-join: current input keys less those that have a row under its own recipe. Nothing here runs
Spark jobs: every function gives a lazy frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from webscale_rl.core.stage import Chain, Subject, kept


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


class Flow:
    """The current rows of every stage, given how to read a table and which recipes are in force.

    What is current is found out with keys alone (`keys`); texts are joined at the end (`inputs`).

    Args:
        stages: the chain.
        read: a table's name to its frame (a plan reads tables with computed rows added).
        recipes: recipe in force by stage; a stage without one has no rows.
        limit: only that many documents, those with the smallest keys, count as pending work.
        persist: compute each stage's frame of keys once, when it is first looked at. Right where a
            stage is looked at when the ones before have written all they will; call `release` after
            ingest, which looks at the documents before it writes.
    """

    def __init__(
        self,
        stages: Chain,
        read: Callable[[str], DataFrame],
        recipes: Mapping[str, str],
        limit: int | None = None,
        persist: bool = False,
    ) -> None:
        self.stages = stages
        self.read = read
        self.recipes = recipes
        self.limit = limit
        self._persist = persist
        self._held: dict[str, DataFrame] = {}

    def of_recipe(self, stage: str) -> DataFrame:
        """A stage's rows under its recipe in force, current or not."""
        rows = self.read(self.stages.get(stage).table.name)
        return rows.where(F.col("recipe") == F.lit(self.recipes.get(stage, "")))

    def _once(self, name: str, make: Callable[[], DataFrame]) -> DataFrame:
        if not self._persist:
            return make()
        if name not in self._held:
            self._held[name] = self.computed(make())
        return self._held[name]

    def computed(self, keys: DataFrame) -> DataFrame:
        """A frame of keys as it is now, where frames of keys are computed once; else the same frame.

        It is cut off from its plan: the keys of the ninth stage would else be planned from the first on.
        """
        return keys.localCheckpoint() if self._persist else keys

    def release(self) -> None:
        """Forget what `persist` keeps."""
        self._held.clear()

    # -- keys ----------------------------------------------------------------------------------

    def document_keys(self) -> DataFrame:
        """The documents in force, kept and rejected, without their texts.

        Returns:
            document_key, source, source_id, content_hash, status, ingest_commit, run.
        """
        columns = (
            *("document_key", "source", "source_id", "content_hash"),
            *("status", "ingest_commit", "run"),
        )
        documents = self.read(Subject.DOCUMENT.table)
        return self._once("documents", lambda: current_documents(documents.select(*columns)))

    def keys(self, stage: str) -> DataFrame:
        """The keys of a stage's current input: the key of its subject and those that it was made from."""
        return self._once(f"keys {stage}", lambda: self._keys(stage))

    def _keys(self, name: str) -> DataFrame:
        stage, before = self.stages.get(name), self.stages.before(name)
        if before is None:
            return self.document_keys().select("document_key")
        return stage.input_keys(self, before.kept_keys(self))

    def pending_keys(self, stage: str, among: DataFrame | None = None) -> DataFrame:
        """The keys of a stage's input rows that have no row yet, within the limit.

        Args:
            among: only these (a column with the key of the stage's subject); None for all.
        """
        key = self.stages.get(stage).subject.key
        done = self.of_recipe(stage).select(key)
        waiting = self.limited(self.keys(stage).join(done, key, "left_anti"))
        return waiting if among is None else waiting.join(among.select(key), key, "left_semi")

    def limited(self, rows: DataFrame) -> DataFrame:
        """Only the rows of the first documents, where a limit is set."""
        if self.limit is None:
            return rows
        first = kept(self.document_keys()).select("document_key").orderBy("document_key").limit(self.limit)
        return rows.join(first, "document_key", "left_semi")

    # -- rows ----------------------------------------------------------------------------------

    def documents(self) -> DataFrame:
        """The documents in force, kept and rejected, with their texts."""
        in_force = self.document_keys().select("document_key", "ingest_commit", "run")
        documents = self.read(Subject.DOCUMENT.table)
        return documents.join(in_force, ["document_key", "ingest_commit", "run"], "left_semi")

    def rows(self, stage: str) -> DataFrame:
        """A stage's rows in force: those of its current input under its recipe."""
        return self.stages.get(stage).rows(self)

    def inputs(self, stage: str, keys: DataFrame | None = None) -> DataFrame:
        """The rows of a stage's current input (or those of ``keys``) with all that it works from."""
        return self.stages.get(stage).inputs(self, self.keys(stage) if keys is None else keys)

    def pending(self, stage: str, among: DataFrame | None = None) -> DataFrame:
        """The input rows of a stage that have no row yet, within the limit."""
        return self.inputs(stage, self.pending_keys(stage, among))

    def subjects(self, subject: Subject, keys: DataFrame) -> DataFrame:
        """What most stages work from: the subjects of some keys with their texts.

        Returns:
            document_key, title, text; passage_key, document_key, ordinal, title, text, tokens; or the rows of
            the table `pairs`.
        """
        if subject is Subject.DOCUMENT:
            texts = self.documents().select("document_key", "title", "text")
            return texts.join(keys, "document_key", "left_semi")
        if subject is Subject.PASSAGE:
            columns = ("passage_key", "document_key", "ordinal", "title", "text", "tokens")
            return self.made(subject).select(*columns).join(keys, "passage_key", "left_semi")
        return self.made(subject).join(keys, "pair_key", "left_semi")

    def made(self, subject: Subject) -> DataFrame:
        """The rows in which subjects came into being, kept and under the recipe in force."""
        return kept(self.of_recipe(self.stages.source_of(subject).name))
