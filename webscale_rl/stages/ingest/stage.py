"""ingest: rows of any source that Spark reads become documents with keys, provenance and licence.

A document's key is the sha256 of source, identifier (where there is one), content hash and number
among identical rows. So the same input twice adds nothing, a moved file adds nothing, and a changed
text under a known identifier is a new document that supersedes the old one.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from pydantic import Field
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.window import Window

from webscale_rl.core.settings import Section
from webscale_rl.core.stage import Stage, Subject, kept
from webscale_rl.core.table import INT, LONG, STRING, stage_table
from webscale_rl.errors import ConfigError
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.passes.write import append
from webscale_rl.runtime.planning import PlannedStage, Planning
from webscale_rl.text.clean import normalise_text

VERSION = 4

_SEPARATOR = "\x1f"


class IngestSettings(Section):
    """What a document may be."""

    max_chars: int | None = Field(ge=1, description="maximum characters of a text; null for no limit")


def recipe_body(settings: IngestSettings) -> dict[str, Any]:
    """Everything that a document's row depends on, beside the input."""
    return {"stage": "ingest", "version": VERSION, "settings": settings.model_dump()}


def apply(rows: DataFrame, settings: IngestSettings) -> DataFrame:
    """Rows of a source as documents: normalised, keyed, each kept or rejected with its reason.

    Args:
        rows: as `read_source` gives them.

    Returns:
        document_key, source, source_id, url, licence, title, text, content_hash string; occurrence
        int; status string; reasons array<string>; path string. Reasons: null_text, empty_text,
        non_text, malformed_json, undecodable, too_large, conflicting_identifier (another text of the
        same input has the same identifier).
    """

    def normalise(texts: pd.Series) -> pd.Series:
        return texts.map(lambda text: None if text is None else normalise_text(text))

    def normalise_titles(titles: pd.Series) -> pd.Series:
        return normalise(titles).map(lambda title: title and title.lstrip())

    normalised = pandas_udf(normalise, "string")  # type: ignore[call-overload]
    normalised_title = pandas_udf(normalise_titles, "string")  # type: ignore[call-overload]
    limit = settings.max_chars
    too_large = F.lit(False) if limit is None else F.length("text") > F.lit(limit)
    # What is too large is cut before it is normalised and kept: its beginning shows what it was.
    if limit is not None:
        rows = rows.withColumn("whole_hash", F.when(too_large, F.sha2("text", 256)))
        rows = rows.withColumn(
            "problem", F.coalesce("problem", F.when(F.col("whole_hash").isNotNull(), "too_large"))
        ).withColumn(
            "text",
            F.when(F.col("whole_hash").isNotNull(), F.substring("text", 1, 1000)).otherwise(F.col("text")),
        )
    else:
        rows = rows.withColumn("whole_hash", F.lit(None).cast("string"))
    clean = (
        rows.withColumn("text", normalised("text"))
        .withColumn("title", normalised_title("title"))
        .withColumn(
            "problem",
            F.coalesce(
                "problem",
                F.when(F.col("text").isNull(), "null_text"),
                F.when(F.col("text") == "", "empty_text"),
            ),
        )
        .withColumn("content_hash", F.coalesce("whole_hash", F.sha2("text", 256)))
        .drop("whole_hash")
    )
    same = Window.partitionBy("source", "source_id", "content_hash", "problem")
    numbered = clean.withColumn(
        "occurrence", F.row_number().over(same.orderBy(F.coalesce("path", F.lit("")))) - 1
    ).withColumn(
        "document_key",
        F.sha2(
            F.concat_ws(
                _SEPARATOR,
                "source",
                F.coalesce("source_id", F.lit("")),
                F.coalesce("content_hash", F.lit("")),
                F.when(F.col("content_hash").isNull(), F.col("problem")).otherwise(F.lit("")),
                F.col("occurrence").cast("string"),
            ),
            256,
        ),
    )
    # One input with two texts under one identifier: no order tells the newer, so the largest content
    # hash wins, the same on every run, and the other is shown as rejected.
    usable = F.col("problem").isNull() & F.col("source_id").isNotNull()
    winner = F.max(F.when(usable, F.col("content_hash"))).over(Window.partitionBy("source", "source_id"))
    decided = numbered.withColumn("winner", winner).withColumn(
        "problem",
        F.coalesce(
            "problem",
            F.when(usable & (F.col("content_hash") != F.col("winner")), "conflicting_identifier"),
        ),
    )
    return decided.select(
        "document_key",
        "source",
        "source_id",
        "url",
        "licence",
        "title",
        "text",
        "content_hash",
        "occurrence",
        F.when(F.col("problem").isNull(), "kept").otherwise("rejected").alias("status"),
        F.when(F.col("problem").isNull(), F.array().cast("array<string>"))
        .otherwise(F.array("problem"))
        .alias("reasons"),
        "path",
    )


def news(documents: DataFrame, current: DataFrame) -> DataFrame:
    """The rows that would change what is known.

    Args:
        documents: as `apply` gives them.
        current: the documents in force (`flow.current_documents`).
    """
    known = current.select("document_key", "status", "reasons")
    return documents.join(known, ["document_key", "status", "reasons"], "left_anti")


DOCUMENTS = stage_table(
    "documents",
    "ingest: one row per document, or per input row that is not a document, with the reason",
    "document_key",
    ("source", STRING, "name of the source in the configuration"),
    ("source_id", STRING, "identifier or URL in the source; a newer text replaces the older one"),
    ("url", STRING, "where the document came from"),
    ("licence", STRING, "licence as given, else 'unknown'"),
    ("title", STRING, "title as given"),
    ("text", STRING, "normalised text: NFC, line ends unified, control characters removed"),
    ("content_hash", STRING, "sha256 of the normalised text"),
    ("occurrence", INT, "number among identical input rows, from 0"),
    ("ingest_commit", LONG, "number of the ingest commit (its run's epoch): the age of the row"),
    ("path", STRING, "file that the row was read from (provenance only, not part of the key)"),
)


class IngestStage(Stage[IngestSettings]):
    """The stage ingest: its input are the rows of the sources, not of another stage."""

    name = "ingest"
    version = VERSION
    after = None
    summary = "turn rows of the sources into documents"
    subject = Subject.DOCUMENT
    table = DOCUMENTS
    settings = IngestSettings

    def rows(self, flow: Flow) -> DataFrame:
        """The documents in force."""
        return flow.documents()

    def kept_keys(self, flow: Flow) -> DataFrame:
        """The keys of the documents in force that are kept."""
        return kept(flow.document_keys()).select("document_key")

    def run(self, context: Context, keys: DataFrame | None = None) -> None:
        """Append the documents that are new, or whose verdict is."""
        if context.sources is None:
            return
        context.warehouse.claim(self.table.name)
        documents = apply(context.sources, self.section(context.parts.sections))
        fresh = news(documents, context.flow.documents()).withColumn("ingest_commit", F.lit(context.run))
        # Reading the sources twice (to count, then to write) would cost more than an empty commit.
        context.progress.begin(self.name, 0)
        append(context, self, fresh)
        written = context.warehouse.read(self.table.name).where(F.col("run") == context.run)
        counts = written.agg(
            F.count("*").alias("rows"), F.count_if(F.col("status") == "kept").alias("kept")
        ).collect()[0]
        if counts["rows"]:
            context.progress.begin(self.name, counts["rows"])
            context.progress.advance(counts["rows"], counts["kept"])
        context.progress.end()
        # What was looked up so far does not know the new documents.
        context.flow.release()

    def plan(self, context: Context, planning: Planning) -> PlannedStage:
        """The documents that would be new."""
        if context.sources is None:
            return PlannedStage(self.name, 0)
        documents = apply(context.sources, self.section(context.parts.sections))
        fresh = news(documents, planning.flow.documents())
        count = fresh.count()
        planning.add(self, fresh.withColumn("ingest_commit", F.lit(planning.run)))
        # A later stage's rows are added before the keys that depend on them are looked up.
        planning.flow.release()
        return PlannedStage(self.name, count)

    def apply(self, context: Context, rows: DataFrame) -> DataFrame:
        """Not available.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("ingest reads sources: use Pipeline.run(inputs=frame)")


STAGE = IngestStage()
