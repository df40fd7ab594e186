"""A Delta table as data: its columns with types and meanings, its key and its partitioning."""

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

# One more with each change of a table, together with its migration (storage/migrations.py).
SCHEMA_VERSION = 4
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


VERDICT = (
    ("status", STRING, "kept or rejected"),
    ("reasons", STRINGS, "every reason of a rejection, short stable names; empty when kept"),
)
WRITTEN = (
    ("recipe", STRING, "hash of everything the outcome depends on (table recipes)"),
    ("run", LONG, "epoch of the run that wrote the row (table runs)"),
)


def stage_table(name: str, meaning: str, key: str, *columns: tuple[str, DataType, str]) -> Table:
    """The table of a stage: key, the stage's own columns, verdict, recipe and run.

    Args:
        key: name of the key of a row's subject.
        columns: name, type and meaning of each.
    """
    return Table(
        name,
        meaning,
        ((key, STRING, "key of the row's subject"), *columns, *VERDICT, *WRITTEN),
        ("recipe",),
        (key, "recipe"),
    )
