"""Names, columns and partitioning of every table: the data model in one place.

`docs/data-model.md` is written from this module (a test holds the two together).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

SCHEMA_VERSION = 3
SCHEMA_VERSION_PROPERTY = "webscale_rl.schemaVersion"

STRING = StringType()
INT = IntegerType()
LONG = LongType()
DOUBLE = DoubleType()
BOOL = BooleanType()
TIME = TimestampType()
STRINGS = ArrayType(STRING)
SCORES = MapType(STRING, DOUBLE)
COUNTS = MapType(STRING, LONG)
BINARY = BinaryType()
VERDICTS = MapType(STRING, BOOL)
PERSONAS = ArrayType(StructType([StructField("name", STRING), StructField("interest", STRING)]))


@dataclass(frozen=True)
class Table:
    """One Delta table: what a row is, its columns (name, type, meaning) and its partitioning."""

    name: str
    meaning: str
    columns: tuple[tuple[str, DataType, str], ...]
    partition_by: tuple[str, ...] = ()
    key: tuple[str, ...] = field(default=())

    @property
    def schema(self) -> StructType:
        """The table's Spark schema, each column with its meaning as a comment."""
        return StructType([StructField(n, t, True, {"comment": meaning}) for n, t, meaning in self.columns])

    @property
    def column_names(self) -> list[str]:
        return [name for name, _, _ in self.columns]


_VERDICT = (
    ("status", STRING, "kept or rejected"),
    ("reasons", STRINGS, "every reason of a rejection, short stable names; empty when kept"),
)
_WRITTEN = (
    ("recipe", STRING, "hash of everything the outcome depends on (table recipes)"),
    ("run", LONG, "epoch of the run that wrote the row (table runs)"),
)


def _stage(name: str, meaning: str, key: str, *columns: tuple[str, DataType, str]) -> Table:
    return Table(
        name,
        meaning,
        ((key, STRING, "key of the row's subject"), *columns, *_VERDICT, *_WRITTEN),
        ("recipe",),
        (key, "recipe"),
    )


DOCUMENTS = _stage(
    "documents",
    "ingest: one row a document (or a row of the input that is none, with the reason)",
    "document_key",
    ("source", STRING, "name of the source in the configuration"),
    ("source_id", STRING, "identifier or URL in the source; a newer text supersedes the older"),
    ("url", STRING, "where the document came from"),
    ("licence", STRING, "licence as given, else 'unknown'"),
    ("title", STRING, "title as given"),
    ("text", STRING, "normalised text: NFC, line ends unified, control characters removed"),
    ("content_hash", STRING, "sha256 of the normalised text"),
    ("occurrence", INT, "number among identical rows of the input, from 0"),
    ("ingest_commit", LONG, "number of the ingest commit (its run's epoch): the age of the row"),
    ("path", STRING, "file that the row was read from (provenance only, no part of the key)"),
)
FILTERED = _stage(
    "filtered",
    "filter: the cheap rules' verdict on a document",
    "document_key",
    ("metrics", SCORES, "what each rule measured"),
    ("language", STRING, "language found (ISO 639-1), null when languages are not configured"),
)
DEDUPLICATED = _stage(
    "deduplicated",
    "deduplicate: whether a document stands for itself, or which one stands for it; of several rows of a "
    "document the one of the newest run is in force",
    "document_key",
    ("content_hash", STRING, "sha256 of the text, as compared"),
    ("ingest_commit", LONG, "age of the document"),
    ("method", STRING, "exact or near, or null for a document that is kept"),
    ("representative_key", STRING, "document that stands for this one (itself when kept)"),
    (
        "linked_key",
        STRING,
        "document that this one was found to be a copy of: the representative, or the "
        "next one of the chain that leads to it; null when kept",
    ),
    ("similarity", DOUBLE, "exact Jaccard similarity with linked_key, 1.0 for exact copies"),
    ("cluster_key", STRING, "cluster of copies: the key of its first representative"),
)
BAND_INDEX = Table(
    "band_index",
    "the kept index of near-duplicate removal: MinHash band keys of every document that was compared",
    (
        ("id", LONG, "xxhash64 of document_key"),
        ("bands", BINARY, "four bytes a band"),
        ("kernel", STRING, "version and parameters of the kernel; rows of another one are not compared"),
        ("run", LONG, "epoch of the run that wrote the row"),
    ),
    ("kernel",),
)
BRIDGES = Table(
    "bridges",
    "late bridges: a document similar to several clusters that were kept apart before it came; applied and "
    "removed by run --rebuild-duplicates",
    (
        ("document_key", STRING, "the document"),
        ("clusters", STRINGS, "cluster_key of each, the one that it joined first"),
        *_WRITTEN,
    ),
)
DEDUPLICATE_FIGURES = Table(
    "deduplicate_figures",
    "what each step of near-duplicate removal counted",
    (
        ("number", INT, "order of the steps"),
        ("step", STRING, "known copies, exact, band keys, candidates, groups, verified, clusters"),
        ("seconds", DOUBLE, "wall time"),
        (
            "counts",
            COUNTS,
            "documents, candidates, shuffled_bytes (uncompressed), largest_partition_bytes, "
            "groups, buckets, largest_bucket, pairs, rounds, rejected, new_clusters, bridges",
        ),
        *_WRITTEN,
    ),
)
PASSAGES = _stage(
    "passages",
    "segment: one row a passage, or one row for a document that gave none",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("ordinal", INT, "number within the document, from 0"),
    ("title", STRING, "the document's title, carried along"),
    ("text", STRING, "the passage"),
    ("start", INT, "first character within the document's text"),
    ("end", INT, "end (exclusive) within the document's text"),
    ("tokens", INT, "estimated tokens"),
)
SCREENED = _stage(
    "screened",
    "screen: a language model's word on whether a passage is worth asking about",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("informative", BOOL, "has facts worth asking about; null where the method does not say"),
    ("self_contained", BOOL, "can be understood alone; null where the method does not say"),
    ("answerable", BOOL, "bears questions with one short answer; null where it does not say"),
    ("score", DOUBLE, "the topic method's score (log-probability); null otherwise"),
    ("comment", STRING, "the model's own reason, where it gives one"),
    ("request_id", STRING, "the completion that was parsed"),
)
IDENTIFIED = _stage(
    "identified",
    "identify: a passage's domain and personas",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("domain", STRING, "identifier of the domain (conf/domains.yml)"),
    ("domain_scores", SCORES, "mean log-probability per domain (topic method)"),
    ("personas", PERSONAS, "readers, each with what he wants to know"),
    ("request_id", STRING, "the completion that was parsed"),
)
PAIRS = _stage(
    "pairs",
    "generate: one row a (passage, persona): the pair, or why there is none",
    "pair_key",
    ("passage_key", STRING, "the passage"),
    ("document_key", STRING, "the document"),
    ("domain", STRING, "domain of the passage"),
    ("persona", STRING, "reader the question is for"),
    ("interest", STRING, "what that reader wants to know"),
    ("ordinal", INT, "number of the persona within the passage, from 0"),
    ("strategy", STRING, "question_first or answer_first"),
    ("question", STRING, "the question"),
    ("answer", STRING, "the answer"),
    ("answer_type", STRING, "number, date, name, span, formula, list, multiple_choice, yes_no"),
    ("quotation", STRING, "sentence of the passage that supports the answer"),
    ("mean_logprob", DOUBLE, "mean token log-probability of the reply"),
    ("min_logprob", DOUBLE, "lowest token log-probability of the reply"),
    ("request_id", STRING, "the completion that was parsed"),
)
GATE_VERDICTS = Table(
    "gate_verdicts",
    "check: one row a (pair, gate) that ran; a gate that did not run has no row",
    (
        ("pair_key", STRING, "the pair"),
        ("gate", STRING, "name of the gate"),
        ("passed", BOOL, "the verdict"),
        ("reason", STRING, "why it failed; null when passed"),
        ("detail", STRING, "what the gate saw (the answer given again, the judge's words)"),
        ("score", DOUBLE, "what the gate measured: agreement, share of good, log-probability by words"),
        ("request_id", STRING, "the completion that was parsed; null for rules"),
        *_WRITTEN,
    ),
    ("gate", "recipe"),
    ("pair_key", "gate", "recipe"),
)
CHECKED = _stage(
    "checked",
    "check: the verdict on a pair, derived from its gates' verdicts",
    "pair_key",
    ("verdicts", VERDICTS, "per configured gate: true, false, or null where it did not run"),
    ("scores", SCORES, "per gate that has one: its score"),
)
DECONTAMINATED = _stage(
    "decontaminated",
    "decontaminate: whether a pair is (close to) a benchmark's item",
    "pair_key",
    ("benchmark", STRING, "benchmark of the nearest item"),
    ("item", STRING, "identifier of the nearest item"),
    ("overlap", DOUBLE, "share of the pair's word n-grams that the item has"),
)
QA_PAIRS = Table(
    "qa_pairs",
    "the product: the accepted pairs as they stand, replaced in one commit",
    (
        ("pair_key", STRING, "key of the pair"),
        ("question", STRING, "the question"),
        ("answer", STRING, "the answer"),
        ("answer_type", STRING, "declared type of the answer"),
        ("quotation", STRING, "sentence of the passage that supports the answer"),
        ("domain", STRING, "domain of the passage"),
        ("persona", STRING, "reader the question is for"),
        ("passage", STRING, "the passage"),
        ("title", STRING, "title of the document"),
        ("passage_key", STRING, "key of the passage"),
        ("document_key", STRING, "key of the document"),
        ("source", STRING, "source of the document"),
        ("source_id", STRING, "identifier in the source"),
        ("url", STRING, "address of the document"),
        ("licence", STRING, "licence of the document"),
        ("verdicts", VERDICTS, "per gate: true, or null where it did not run"),
        ("scores", SCORES, "per gate that has one: its score"),
        ("models", MapType(STRING, STRING), "per step that called one: engine and model hash"),
        ("recipes", MapType(STRING, STRING), "per step: the recipe in force"),
    ),
    (),
    ("pair_key",),
)
COMPLETIONS = Table(
    "completions",
    "calls to a language model: each logical request once, with its raw reply",
    (
        ("request_id", STRING, "sha256 of the canonical JSON of the whole logical request"),
        ("stage", STRING, "stage or gates that asked first"),
        ("chunk", INT, "chunk of that stage's run"),
        ("engine", STRING, "name of the engine in the configuration"),
        ("model", STRING, "content hash or declared revision of the model"),
        ("text", STRING, "raw reply"),
        ("finish_reason", STRING, "stop, length or error"),
        ("fault", STRING, "lasting for a request that can never be answered; else null"),
        ("error", STRING, "what went wrong, short name first"),
        ("prompt_tokens", INT, "tokens of the prompt"),
        ("cached_tokens", INT, "of these, tokens found in the engine's cache"),
        ("completion_tokens", INT, "tokens of the reply"),
        ("mean_logprob", DOUBLE, "mean token log-probability of the reply"),
        ("min_logprob", DOUBLE, "lowest token log-probability of the reply"),
        ("choice_logprobs", ArrayType(DOUBLE), "per choice of the request: its log-probability"),
        ("seconds", DOUBLE, "wall time of the request within the engine"),
        (
            "load_seconds",
            DOUBLE,
            "in the first completion of a task: how long its engine took to load, 0 if it was up; else null",
        ),
        ("finished_at", TIME, "when the chunk was written"),
        ("run", LONG, "epoch of the run that paid for it"),
    ),
    ("run",),
    ("request_id",),
)
ATTEMPTS = Table(
    "attempts",
    "passing faults: what was tried and failed, while its row stays pending",
    (
        ("request_id", STRING, "the request"),
        ("stage", STRING, "stage or gates that asked"),
        ("recipe", STRING, "recipe in force; null where several gates asked together"),
        ("number", INT, "number of the attempt at this request, from 1"),
        ("error", STRING, "what went wrong"),
        ("failed_at", TIME, "when"),
        ("run", LONG, "epoch of the run"),
    ),
    (),
    ("request_id", "run", "number"),
)
RECIPES = Table(
    "recipes",
    "every recipe hash with its canonical JSON in full",
    (
        ("recipe", STRING, "the hash"),
        ("stage", STRING, "stage or gate"),
        ("body", STRING, "canonical JSON of all that the outcome depends on"),
        ("run", LONG, "epoch of the run that used it first"),
    ),
    (),
    ("recipe",),
)
ACTIVE = Table(
    "active",
    "which recipe of each stage and gate is in force",
    (
        ("stage", STRING, "stage or gate"),
        ("recipe", STRING, "recipe in force"),
        ("run", LONG, "epoch of the run that set it"),
    ),
    (),
    ("stage",),
)
RUNS = Table(
    "runs",
    "one row a run",
    (
        ("run", LONG, "epoch: grows by one with each run that takes the warehouse"),
        ("run_id", STRING, "random identifier"),
        ("version", STRING, "version of the package"),
        ("started_at", TIME, "when it took the warehouse"),
        ("ended_at", TIME, "when it ended; null while it runs or when it was killed"),
        ("outcome", STRING, "running, done, stopped (by a limit), interrupted or failed"),
        ("message", STRING, "why it stopped or failed"),
        ("requests", LONG, "requests that went to a model"),
        ("tokens", LONG, "prompt and completion tokens paid, cached ones included"),
        ("cost", DOUBLE, "cost where prices are configured"),
        ("settings", STRING, "canonical JSON of the configuration, without secrets"),
    ),
    (),
    ("run",),
)
LEASE = Table(
    "lease",
    "one row: who holds the warehouse, and the epoch of the last run that took it",
    (
        ("epoch", LONG, "grows by one with each run"),
        ("run_id", STRING, "holder; null when free"),
        ("host", STRING, "host of the holder"),
        ("pid", LONG, "process of the holder"),
        ("pid_started", STRING, "boot and start time of that process, to tell a reused number"),
        ("since", TIME, "when it was taken"),
        ("heartbeat", TIME, "last sign of life"),
    ),
    (),
    (),
)

STAGE_TABLES = (
    DOCUMENTS,
    FILTERED,
    DEDUPLICATED,
    PASSAGES,
    SCREENED,
    IDENTIFIED,
    PAIRS,
    CHECKED,
    DECONTAMINATED,
)
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *STAGE_TABLES[:7],
        GATE_VERDICTS,
        *STAGE_TABLES[7:],
        BAND_INDEX,
        BRIDGES,
        DEDUPLICATE_FIGURES,
        QA_PAIRS,
        COMPLETIONS,
        ATTEMPTS,
        RECIPES,
        ACTIVE,
        RUNS,
        LEASE,
    )
}
