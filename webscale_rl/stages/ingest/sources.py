"""Where documents come from: rows of anything that Spark reads, before anything is decided."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BinaryType,
    StringType,
)

from webscale_rl.core.settings import IS_PATH, Section
from webscale_rl.errors import InputError

FORMATS = ("parquet", "json", "csv", "text", "lines", "delta")


_ENDINGS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}


# Hugging Face's data sets write license.
_USUAL = {"licence": ("licence", "license", "Licence", "License", "LICENCE", "LICENSE")}


class ColumnNames(Section):
    """Which columns of a source carry what. A name that is set must be there; null: the source has
    none; left out: the column of the usual name, where there is one.
    """

    text: str = Field(default="text", description="the document's text")
    id: str | None = Field(default="id", description="stable identifier in the source")
    url: str | None = Field(default="url", description="address")
    title: str | None = Field(default="title", description="title")
    licence: str | None = Field(
        default="licence",
        description="licence of the row; by default licence or license",
        validation_alias=AliasChoices("licence", "license"),
    )

    def usual(self, role: str) -> tuple[str, ...]:
        """The names that a column may have: the one that is given, else those that are usual."""
        name = getattr(self, role)
        if role in self.model_fields_set or role not in _USUAL:
            return () if name is None else (name,)
        return _USUAL[role]


class SourceSettings(Section):
    """One source of documents."""

    name: str = Field(min_length=1, description="name that is part of every key")
    paths: list[str] = Field(
        min_length=1, description="files, folders or table names", json_schema_extra=IS_PATH
    )
    format: Literal["parquet", "json", "csv", "text", "lines", "delta"] = Field(
        description="text: one document per file; lines: one per line; json: JSON lines"
    )
    columns: ColumnNames = Field(default=ColumnNames(), description="names of its columns")
    licence: str = Field(
        default="unknown",
        description="licence of rows that name none",
        validation_alias=AliasChoices("licence", "license"),
    )


def guess_format(path: str) -> str:
    """The format of a path by its ending; anything unknown is text, a document a file.

    JSON may be compressed (``.jsonl.gz``), as Spark reads it.
    """
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    return next((kind for end, kind in _ENDINGS.items() if name.endswith(end)), "text")


def read_source(spark: SparkSession, source: SourceSettings) -> DataFrame:
    """The rows of a source, before anything is decided.

    Returns:
        source, source_id, url, licence, title string; text string; problem string (why the row is no
        document, or null); path string.

    Raises:
        InputError: nothing to read there, or a configured column is missing or of the wrong type.
    """
    try:
        if source.format == "json":
            return _read_json(spark, source)
        if source.format in ("text", "lines"):
            return _read_text(spark, source)
        return _read_table(spark, source)
    except PySparkException as error:
        message = str(error).splitlines()[0]
        raise InputError(f"source {source.name}: cannot read {source.paths}: {message}") from error


def _read_json(spark: SparkSession, source: SourceSettings) -> DataFrame:
    # Lines are read as text and parsed as variants: that tells a malformed line from a missing field
    # and a number from a string, where Spark's JSON reader gives null or a converted value.
    lines = spark.read.text(source.paths).select("value", F.col("_metadata.file_path").alias("path"))
    lines = lines.where(F.trim("value") != "").withColumn("valid", F.is_valid_utf8("value"))
    row = F.try_parse_json(F.when(F.col("valid"), F.col("value")))
    parsed = lines.withColumn("row", row)

    def field(name: str | None, kind: str = "string") -> Column:
        if name is None:
            return F.lit(None).cast(kind)
        return F.try_variant_get("row", _field_path(name), kind)

    text_kind = F.schema_of_variant(F.try_variant_get("row", _field_path(source.columns.text), "variant"))
    is_object = F.schema_of_variant("row").startswith("OBJECT")
    problem = (
        F.when(~F.col("valid"), "undecodable")
        .when(F.col("row").isNull() | ~is_object, "malformed_json")
        .when(text_kind.isNull() | (text_kind == "VOID"), "null_text")
        .when(text_kind != "STRING", "non_text")
    )
    return parsed.select(
        F.lit(source.name).alias("source"),
        _first_given(field(source.columns.id), field(source.columns.url)).alias("source_id"),
        field(source.columns.url).alias("url"),
        _licence([field(name) for name in source.columns.usual("licence")], source),
        field(source.columns.title).alias("title"),
        F.coalesce(
            F.when(text_kind == "STRING", field(source.columns.text)),
            F.when(problem == "malformed_json", F.col("value")),
        ).alias("text"),
        problem.alias("problem"),
        "path",
    )


def _read_text(spark: SparkSession, source: SourceSettings) -> DataFrame:
    if source.format == "lines":
        raw = spark.read.text(source.paths).select("value", F.col("_metadata.file_path").alias("path"))
        raw = raw.where(F.trim("value") != "")
    else:
        files = spark.read.format("binaryFile").load(source.paths)
        raw = files.select(F.col("content").cast("string").alias("value"), "path")
        raw = raw.unionByName(_empty_files(spark, files))
    valid = F.is_valid_utf8("value")
    nothing = F.lit(None).cast("string")
    return raw.select(
        F.lit(source.name).alias("source"),
        nothing.alias("source_id"),
        nothing.alias("url"),
        F.lit(source.licence).alias("licence"),
        nothing.alias("title"),
        F.when(valid, F.col("value")).otherwise(F.make_valid_utf8("value")).alias("text"),
        F.when(~valid, "undecodable").alias("problem"),
        "path",
    )


def _empty_files(spark: SparkSession, files: DataFrame) -> DataFrame:
    """The files of no length, which Spark lists but never reads: value (empty) and path."""

    def bare(path: Column) -> Column:
        return F.regexp_replace(path, "^file:/+", "file:/")

    listed = spark.createDataFrame([(path,) for path in files.inputFiles()], "path string")
    read = files.select(bare(F.col("path")).alias("path"))
    return (
        listed.select(bare(F.col("path")).alias("path"))
        .join(read, "path", "left_anti")
        .select(F.lit("").alias("value"), "path")
    )


def _read_table(spark: SparkSession, source: SourceSettings) -> DataFrame:
    if source.format == "csv":
        options = {"header": "true", "multiLine": "true", "escape": '"', "mode": "PERMISSIVE"}
        table = spark.read.options(**options).csv(source.paths)
    elif source.format == "delta":
        frames = [
            spark.read.format("delta").load(path) if _is_path(path) else spark.table(path)
            for path in source.paths
        ]
        table = frames[0]
        for frame in frames[1:]:
            table = table.unionByName(frame, allowMissingColumns=True)
    else:
        table = spark.read.parquet(*source.paths)
    path = F.col("_metadata.file_path") if source.format != "delta" else F.lit(source.paths[0])
    return from_frame(table, source, path)


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.startswith(".")


def from_frame(table: DataFrame, source: SourceSettings, path: Column | None = None) -> DataFrame:
    """Rows of a frame as `read_source` gives them.

    Raises:
        InputError: a configured column is missing, or the text column is neither string nor binary.
    """
    columns = source.columns
    for role, name in columns.model_dump().items():
        must_be = role == "text" or role in columns.model_fields_set
        if name is not None and name not in table.columns and must_be:
            raise InputError(
                f"source {source.name}: no column {name!r} (for {role}); it has "
                f"{', '.join(table.columns[:20])}: set sources[].columns.{role}"
            )
    kind = table.schema[columns.text].dataType
    if not isinstance(kind, StringType | BinaryType):
        raise InputError(
            f"source {source.name}: column {columns.text!r} is {kind.simpleString()}, "
            "the text must be a string: set sources[].columns.text"
        )
    value = F.col(f"`{columns.text}`").cast("string")
    valid = F.is_valid_utf8(value)

    def field(name: str | None) -> Column:
        if name is None or name not in table.columns:
            return F.lit(None).cast("string")
        return F.col(f"`{name}`").cast("string")

    licences = columns.usual("licence")
    if len(licences) > 1:  # License beside license is neither: Spark cannot tell them apart
        lower = [name.lower() for name in table.columns]
        licences = tuple(name for name in licences if lower.count(name.lower()) == 1)
    return table.select(
        F.lit(source.name).alias("source"),
        _first_given(field(columns.id), field(columns.url)).alias("source_id"),
        field(columns.url).alias("url"),
        _licence([field(name) for name in licences], source),
        field(columns.title).alias("title"),
        F.when(valid, value).otherwise(F.make_valid_utf8(value)).alias("text"),
        F.when(value.isNull(), "null_text")
        .when(~valid | value.contains("\ufffd\ufffd\ufffd"), "undecodable")
        .alias("problem"),
        (F.lit(None).cast("string") if path is None else path).alias("path"),
    )


def _licence(columns: list[Column], source: SourceSettings) -> Column:
    given = [_first_given(*columns)] if columns else []
    return F.coalesce(*given, F.lit(source.licence)).alias("licence")


def _field_path(name: str) -> str:
    """The variant path of a field of this name."""
    if "'" in name and '"' in name:
        raise InputError(f"column {name!r} has both kinds of quotation marks: rename it in the source")
    quote = '"' if "'" in name else "'"
    return f"$[{quote}{name}{quote}]"


def _first_given(*columns: Column) -> Column:
    """The first of the columns that is neither null nor blank, without outer spaces."""
    return F.coalesce(*[F.when(F.trim(column) != "", F.trim(column)) for column in columns])
