"""Pairs that are, or are mostly made of, items of an evaluation benchmark.

A pair is compared with every item in three ways: its normalised question is the item's, one of the two stands
within the other (behind a preface, or with options after it), or more than a part of its word n-grams (as in
GPT-3 and its successors; the paper has 8) stands in the item. Both sides go through the same native columns,
joins are on equality only, and Spark decides which side is small enough to be broadcast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from webscale_rl.core.files import find_file
from webscale_rl.core.fingerprint import sha256_file, sha256_text
from webscale_rl.core.settings import IS_PATH, Section
from webscale_rl.core.stage import Body, Subject
from webscale_rl.core.table import (
    DOUBLE,
    STRING,
    stage_table,
)
from webscale_rl.errors import InputError
from webscale_rl.llm.parts import Parts
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.frame_stage import FrameStage
from webscale_rl.text.language import UNSPACED_SCRIPTS
from webscale_rl.text.layout import number
from webscale_rl.text.wordlists import SCAFFOLD_WORDS, STOP_WORDS

VERSION = 3

COLUMNS = ("benchmark", "item", "question", "answer")
_JSON_ENDS = (".jsonl", ".json", ".ndjson")
_PACKED_ENDS = (".gz", ".bz2", ".zst")
_CORRUPT = "_corrupt_record"


class DecontaminateSettings(Section):
    """What counts as contaminated."""

    benchmarks: list[str] = Field(
        description="files of benchmark items, JSON lines or Parquet: benchmark, item, question, answer",
        json_schema_extra=IS_PATH,
    )
    ngram_words: Annotated[int, Field(ge=2, le=20)] = Field(
        description="length of the n-grams in words; a shorter question is compared by its own length"
    )
    max_overlap: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        description="benchmark_ngrams: maximum share of the pair's n-grams in one item"
    )
    min_contained_words: Annotated[int, Field(ge=3)] | None = Field(
        default=5,
        description="benchmark_contained: the pair's question contains an item's question of at least "
        "this many words, half of them with content, or the other way round; null: do not check",
    )


def load_benchmarks(spark: SparkSession, paths: Sequence[str]) -> DataFrame:
    """Read benchmark items.

    Args:
        paths: files or folders, JSON lines (.jsonl, .json, .ndjson, also packed) or Parquet (.parquet),
            by the end of the name; none gives no items.

    Returns:
        benchmark, item, question, answer, all strings (numbers as they stand in the file).

    Raises:
        InputError: a path that cannot be read, has another ending, no such columns or broken lines.
    """
    schema = T.StructType([T.StructField(name, T.StringType()) for name in COLUMNS])
    items = spark.createDataFrame([], schema)
    for path in paths:
        items = items.unionByName(_read(spark, path))
    return items


def normalised(text: Column) -> Column:
    """Lower case, letters and digits only, one space wherever anything else stood; null as empty.

    Characters of scripts without spaces are words of their own.
    """
    plain = F.regexp_replace(F.lower(F.coalesce(text, F.lit(""))), r"[^\p{L}\p{M}\p{N}]+", " ")
    apart = F.regexp_replace(plain, f"[{UNSPACED_SCRIPTS}]", " $0 ")
    return F.trim(F.regexp_replace(apart, " +", " "))


def apply(pairs: DataFrame, benchmarks: DataFrame | None, settings: DecontaminateSettings) -> DataFrame:
    """Judge pairs against benchmark items.

    The n-grams of a pair are those of its question; where the question has fewer words than
    `ngram_words`, they have the length of the question and are taken from the question followed by the
    answer. Those of an item are always taken from its question followed by its answer.

    Args:
        pairs: pair_key, question, answer.
        benchmarks: as `load_benchmarks` gives them; None or no rows keeps every pair.

    Returns:
        One row for each pair: pair_key, status, reasons (`benchmark_exact`, `benchmark_contained`,
        `benchmark_ngrams`),
        benchmark and item (the nearest one, also of a kept pair; null if none shares an n-gram),
        overlap (the share of the pair's distinct n-grams that it has; 1.0 for a question that is the same or
        contained).
    """
    if benchmarks is None:
        benchmarks = pairs.sparkSession.createDataFrame(
            [], T.StructType([T.StructField(name, T.StringType()) for name in COLUMNS])
        )
    asked = _with_words(pairs.select("pair_key", "question", "answer"))
    # Items that share their name in a benchmark stay apart by what they say.
    items = (
        _with_words(benchmarks.select(*COLUMNS))
        .withColumn("row", F.xxhash64("form", F.array_join("answer_words", " ")))
        .dropDuplicates(["benchmark", "item", "row"])
    )
    near = _shared_ngrams(asked, items, settings.ngram_words).unionByName(_same_question(asked, items))
    if settings.min_contained_words is not None:
        near = near.unionByName(_contained_question(asked, items, settings.min_contained_words))
    nearest = near.groupBy("pair_key").agg(
        F.max("is_exact").alias("is_exact"),
        F.max("is_contained").alias("is_contained"),
        F.max(F.when(~F.col("is_exact") & ~F.col("is_contained"), F.col("overlap"))).alias("ngram_overlap"),
        # The highest overlap first, then the same question, then the first by name.
        F.min(F.struct((-F.col("overlap")).alias("less"), ~F.col("is_exact"), "benchmark", "item")).alias(
            "best"
        ),
    )
    exact = F.coalesce(F.col("is_exact"), F.lit(False))
    contained = ~exact & F.coalesce(F.col("is_contained"), F.lit(False))
    ngrams = F.coalesce(F.col("ngram_overlap") > settings.max_overlap, F.lit(False))
    reasons = F.array_compact(
        F.array(
            F.when(exact, F.lit("benchmark_exact")),
            F.when(contained, F.lit("benchmark_contained")),
            F.when(ngrams, F.lit("benchmark_ngrams")),
        )
    )
    return (
        pairs.select("pair_key")
        .join(nearest, "pair_key", "left")
        .select(
            "pair_key",
            F.when(F.size(reasons) == 0, "kept").otherwise("rejected").alias("status"),
            reasons.alias("reasons"),
            F.col("best.benchmark").alias("benchmark"),
            F.col("best.item").alias("item"),
            F.coalesce(-F.col("best.less"), F.lit(0.0)).alias("overlap"),
        )
    )


def _with_words(rows: DataFrame) -> DataFrame:
    """The rows with `form`, the normalised question, and the words of question and answer."""
    return (
        rows.withColumn("form", normalised(F.col("question")))
        .withColumn("question_words", _words(F.col("form")))
        .withColumn("answer_words", _words(normalised(F.col("answer"))))
    )


def _words(form: Column) -> Column:
    return F.filter(F.split(form, " "), lambda word: word != "")


def _same_question(asked: DataFrame, items: DataFrame) -> DataFrame:
    """pair_key, benchmark, item, overlap, is_exact, is_contained for items with the same normalised
    question.
    """
    return (
        asked.where(F.col("form") != "")
        .select("pair_key", "form")
        .join(items.select("form", "benchmark", "item"), "form")
        .select("pair_key", "benchmark", "item", *_likeness(F.lit(1.0), exact=True))
    )


def _likeness(overlap: Column, exact: bool = False, contained: bool = False) -> list[Column]:
    return [
        overlap.alias("overlap"),
        F.lit(exact).alias("is_exact"),
        F.lit(contained).alias("is_contained"),
    ]


def _contained_question(asked: DataFrame, items: DataFrame, min_words: int) -> DataFrame:
    """The same columns for the items whose question stands within a pair's, or holds it.

    They meet by the first words of the shorter question; whether the rest follows is looked at then.
    """
    pairs, others = asked.select("pair_key", "form"), items.select("benchmark", "item", "form")

    def starts(rows: DataFrame) -> DataFrame:
        words = _words(F.col("form"))
        first = _ngrams(F.slice(words, 1, min_words), F.lit(min_words), min_words)
        sought = rows.where(_says_enough(words, min_words)).withColumn("ngram", F.get(first, F.lit(0)))
        return sought.withColumnRenamed("form", "inner")

    def ngrams(rows: DataFrame) -> DataFrame:
        found = _ngrams(_words(F.col("form")), F.lit(min_words), min_words)
        return rows.select(*rows.columns, F.explode(found).alias("ngram")).withColumnRenamed("form", "whole")

    spaced = [F.concat(F.lit(" "), F.col(name), F.lit(" ")) for name in ("whole", "inner")]
    return (
        ngrams(pairs)
        .join(starts(others), "ngram")
        .unionByName(ngrams(others).join(starts(pairs), "ngram"))
        .where((F.col("whole") != F.col("inner")) & F.contains(*spaced))
        .select("pair_key", "benchmark", "item", *_likeness(F.lit(1.0), contained=True))
        .distinct()
    )


def _says_enough(words: Column, min_words: int) -> Column:
    """Whether a question has so many words, and half as many that say what it is about.

    "What is the capital of France?" stands in many. Words that many questions have count half; five
    characters of a script without spaces are about three words.
    """

    def without(some: Column, known: frozenset[str]) -> Column:
        return F.array_except(some, F.array(*[F.lit(word) for word in sorted(known)]))

    content = without(words, STOP_WORDS)
    surplus = 0.4 * F.size(F.filter(words, lambda word: word.rlike(f"[{UNSPACED_SCRIPTS}]")))
    weight = (F.size(content) + F.size(without(content, SCAFFOLD_WORDS))) / 2
    return (F.size(words) - surplus >= min_words) & (2 * (weight - surplus) >= min_words)


def _shared_ngrams(asked: DataFrame, items: DataFrame, ngram_words: int) -> DataFrame:
    """pair_key, benchmark, item, overlap, is_exact, is_contained for items that share an n-gram with a
    pair.
    """
    both = F.concat("question_words", "answer_words")
    length = F.least(F.size("question_words"), F.lit(ngram_words))
    source = F.when(length < ngram_words, both).otherwise(F.col("question_words"))
    # explode_outer: for a plain explode Spark infers a filter on the array and computes it twice. The
    # null of a text without n-grams meets nothing in the join.
    of_pairs = (
        asked.select("pair_key", length.alias("length"), source.alias("words"))
        .select("pair_key", _ngrams(F.col("words"), F.col("length"), ngram_words).alias("ngrams"))
        .select("pair_key", F.size("ngrams").alias("total"), F.explode_outer("ngrams").alias("ngram"))
    )
    lengths = F.sequence(F.lit(1), F.lit(ngram_words))
    of_items = items.select(
        "benchmark", "item", "row", both.alias("words"), F.explode(lengths).alias("length")
    ).select(
        "benchmark",
        "item",
        "row",
        F.explode_outer(_ngrams(F.col("words"), F.col("length"), ngram_words)).alias("ngram"),
    )
    return (
        of_pairs.join(of_items, "ngram")
        .groupBy("pair_key", "total", "benchmark", "item", "row")
        .count()
        .select(
            "pair_key",
            "benchmark",
            "item",
            *_likeness(F.col("count").cast("double") / F.col("total")),
        )
    )


def _ngrams(words: Column, length: Column, longest: int) -> Column:
    """Hashes of the distinct n-grams of `length` words, at most `longest`; empty if there are too few.

    64 bits make a chance meeting unlikely, and one alone rejects only a pair of a single n-gram. A null
    leaves xxhash64 as it was, so one expression serves every length. Words and length are bound by the
    outer transform: a column named inside a lambda would be computed anew for every element.
    """

    def of_bound(bound: Column) -> Column:
        bound_words, bound_length = bound.getField("words"), bound.getField("length")
        return F.transform(
            F.sequence(F.lit(0), F.size(bound_words) - bound_length),
            lambda at: F.xxhash64(
                bound_length,
                *[F.when(bound_length > step, F.get(bound_words, at + step)) for step in range(longest)],
            ),
        )

    once = F.array(F.struct(words.alias("words"), length.alias("length")))
    found = F.get(F.transform(once, of_bound), F.lit(0))
    return F.when((length > 0) & (F.size(words) >= length), F.array_distinct(found)).otherwise(
        F.array().cast("array<bigint>")
    )


def _first_line(error: Exception) -> str:
    """What an error says, without the stack traces that come with Java's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if "[" in line and "]" in line] or lines or [type(error).__name__]
    return said[0].removeprefix(": ")


def _read(spark: SparkSession, path: str) -> DataFrame:
    """The items of one file or folder; errors are `InputError`s that name it."""
    name = path.rstrip("/").lower()
    for end in _PACKED_ENDS:
        name = name.removesuffix(end)
    try:
        if name.endswith(_JSON_ENDS):
            rows = spark.read.option("primitivesAsString", "true").json(path)
        elif name.endswith(".parquet"):
            rows = spark.read.parquet(path)
        else:
            raise InputError(
                f"benchmark file {path}: neither JSON lines ({', '.join(_JSON_ENDS)}) nor .parquet"
            )
        schema = rows.schema
    except Exception as error:
        # Spark's own errors differ by client: Py4J passes some of them on without turning them into
        # PySparkExceptions. Whatever it was, this one file could not be read.
        if isinstance(error, InputError):
            raise
        raise InputError(f"benchmark file {path} cannot be read: {_first_line(error)}") from error
    if _CORRUPT in schema.names:
        raise InputError(f"benchmark file {path} has lines that are not JSON objects")
    missing = [column for column in COLUMNS if column not in schema.names]
    if missing:
        raise InputError(
            f"benchmark file {path} has no column {', '.join(missing)}; wanted are {', '.join(COLUMNS)}"
        )
    nested = [
        column
        for column in COLUMNS
        if isinstance(schema[column].dataType, T.ArrayType | T.StructType | T.MapType | T.BinaryType)
    ]
    if nested:
        raise InputError(f"benchmark file {path}: {', '.join(nested)} must be text or numbers")
    return rows.select(*[F.col(column).cast("string").alias(column) for column in COLUMNS])


DECONTAMINATED = stage_table(
    "decontaminated",
    "decontaminate: whether a pair is too close to a benchmark item",
    "pair_key",
    ("benchmark", STRING, "benchmark of the nearest item"),
    ("item", STRING, "identifier of the nearest item"),
    ("overlap", DOUBLE, "share of the pair's word n-grams that are in the item"),
)


class DecontaminateStage(FrameStage[DecontaminateSettings]):
    """The stage decontaminate."""

    name = "decontaminate"
    version = VERSION
    after = "check"
    summary = "compare the pairs with evaluation benchmarks"
    subject = Subject.PAIR
    table = DECONTAMINATED
    settings = DecontaminateSettings
    carries = ("benchmark", "item")

    def recipe(self, parts: Parts) -> Body:
        """Settings, and what the benchmarks' files hold, not where they lie."""
        settings = self.section(parts.sections)
        hashes = []
        for path in settings.benchmarks:
            if "://" in path:
                # Read by Spark alone: its name must stand for what it holds.
                hashes.append(sha256_text(path))
                continue
            found = find_file(path)
            files = sorted(found.rglob("*")) if found.is_dir() else [found]
            hashes += [sha256_file(file) for file in files if file.is_file()]
        body = super().recipe(parts)
        body["settings"].pop("benchmarks")
        return body | {"benchmarks": sorted(hashes)}

    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """`apply`, with the benchmarks of the settings."""
        settings = self.section(context.parts.sections)
        paths = [path if "://" in path else str(find_file(path)) for path in settings.benchmarks]
        return apply(rows, load_benchmarks(context.spark, paths), settings)

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """The nearest item."""
        if row["benchmark"] is None:
            return []
        return [("nearest item", f"{row['benchmark']} / {row['item']}"), ("overlap", number(row["overlap"]))]


STAGE = DecontaminateStage()
