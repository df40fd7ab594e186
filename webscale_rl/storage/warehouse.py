"""A warehouse: the folder (or catalog schema) that holds the Delta tables, and how they are written.

Appends are fenced. Each carries Delta's `txnAppId`/`txnVersion`, the version made of the run's epoch
and a counter; Delta skips a version that is not higher than the last one of its application, without
a word. A newer run takes the lease before it claims a table, so a writer that still holds the lease after
its commit knows that the commit was made; one that was overtaken stops there. What is replaced or deleted
is claimed by nobody: the lease is looked at before, too.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from webscale_rl.core.table import SCHEMA_VERSION, SCHEMA_VERSION_PROPERTY, Table
from webscale_rl.errors import WarehouseError
from webscale_rl.spark.errors import SPARK_ERRORS, first_line
from webscale_rl.storage.fence import Fence
from webscale_rl.storage.migrations import OLDEST, as_migrated
from webscale_rl.storage.tables import STORAGE_TABLES

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_COUNTER_BITS = 32
# Seconds between looks at a table that is there and that Delta does not see yet.
_LOOKS = (0.1, 0.3, 1.0, 3.0)


def _is_schema(location: str) -> bool:
    return location.startswith("schema:") or (
        "." in location and all(_IDENTIFIER.match(part) for part in location.split("."))
    )


class Warehouse:
    """The tables of one warehouse.

    Args:
        location: a folder (``./warehouse``, ``s3a://bucket/rl``) or a catalog schema
            (``main.rl``, ``schema:rl``).
        tables: those that it may hold, by name; None for those that no stage owns.

    Attributes:
        version: schema version of the tables that are read; older ones are read as a migration leaves them.

    Raises:
        WarehouseError: the location is neither.
    """

    def __init__(self, spark: SparkSession, location: str, tables: Mapping[str, Table] | None = None) -> None:
        self.spark = spark
        self.tables = {table.name: table for table in STORAGE_TABLES} if tables is None else dict(tables)
        self.lease: Fence | None = None
        self.version = SCHEMA_VERSION
        self._known: set[str] = set()
        self._current: set[str] = set()  # tables whose schema version is this package's
        self._claimed: set[tuple[str, int]] = set()
        self._counters: dict[tuple[str, int], int] = defaultdict(int)
        self.is_schema = _is_schema(location)
        if self.is_schema:
            parts = location.removeprefix("schema:").split(".")
            if not all(_IDENTIFIER.match(part) for part in parts) or len(parts) > 2:
                raise WarehouseError(
                    f"{location!r} is not a catalog schema: expected schema:NAME or CATALOG.NAME"
                )
            self.location = ".".join(f"`{part}`" for part in parts)
        else:
            if not location or "`" in location or "\x00" in location:
                raise WarehouseError(f"{location!r} cannot be used as the folder of a warehouse")
            if "://" not in location and not location.startswith("dbfs:"):
                location = str(Path(location).expanduser().absolute())
            self.location = location.rstrip("/")

    # -- names ---------------------------------------------------------------------------------

    @property
    def local_folder(self) -> Path | None:
        """The folder on this machine's disk, or None for a schema or a remote folder."""
        if self.is_schema or "://" in self.location or self.location.startswith("dbfs:"):
            return None
        return Path(self.location)

    def identifier(self, table: str) -> str:
        """The table's name in SQL."""
        if not _IDENTIFIER.match(table):
            raise WarehouseError(f"{table!r} is not a table name")
        if self.is_schema:
            return f"{self.location}.`{table}`"
        return f"delta.`{self.location}/{table}`"

    # -- reading -------------------------------------------------------------------------------

    def exists(self, table: str) -> bool:
        """Whether the table is there (an answer of yes is remembered)."""
        if table in self._known:
            return True
        folder = self.local_folder
        if folder is not None:
            # The log's folder is there before its first commit is.
            found = any((folder / table / "_delta_log").glob("*.json"))
        elif self.is_schema:
            found = self.spark.catalog.tableExists(self.identifier(table).replace("`", ""))
        else:
            try:
                self.spark.sql(f"DESCRIBE DETAIL {self.identifier(table)}").collect()
                found = True
            except AnalysisException:
                found = False
        if found:
            self._known.add(table)
        return found

    def read(self, table: str) -> DataFrame:
        """The table, or no rows of its schema where it does not exist yet."""
        if not self.exists(table):
            return self._no_rows(table)
        rows = self._found(table)
        if self.version == SCHEMA_VERSION or table not in self.tables:
            return rows
        missing = {
            name: F.lit(None).cast(kind)
            for name, kind, _ in self.tables[table].columns
            if name not in rows.columns
        }
        return as_migrated(table, rows.withColumns(missing), self.version)

    def _found(self, table: str) -> DataFrame:
        for wait in _LOOKS:
            try:
                return self.spark.table(self.identifier(table))
            except AnalysisException as error:
                if "DELTA_TABLE_NOT_FOUND" not in str(error):
                    raise
                # Delta looked while another run's first commit was on its way, and remembers that a while.
                time.sleep(wait)
        return self.spark.table(self.identifier(table))

    def _no_rows(self, table: str) -> DataFrame:
        # A relation that the optimiser knows to be empty, so that joins with it are planned away.
        nulls = ", ".join(
            f"CAST(NULL AS {kind.simpleString()}) AS `{name}`" for name, kind, _ in self.tables[table].columns
        )
        return self.spark.sql(f"SELECT {nulls} WHERE false")

    # -- schema versions -----------------------------------------------------------------------

    def schema_version(self, table: str) -> int:
        """The schema version of a table that is there.

        Raises:
            WarehouseError: it is newer than this package's, or older than what can be migrated.
        """
        rows = self.spark.sql(f"SHOW TBLPROPERTIES {self.identifier(table)}").collect()
        found = {row["key"]: row["value"] for row in rows}.get(SCHEMA_VERSION_PROPERTY) or "none"
        if not found.isdecimal() or not OLDEST <= int(found) <= SCHEMA_VERSION:
            raise WarehouseError(
                f"table {table} in {self.location} has schema version {found}, this package "
                f"writes version {SCHEMA_VERSION}: use the package that wrote it, or a new warehouse"
            )
        return int(found)

    def check_schema_version(self, table: str) -> None:
        """Refuse to write to a table of another schema version.

        Raises:
            WarehouseError: the table's schema version is not this package's.
        """
        found = self.schema_version(table)
        if found != SCHEMA_VERSION:
            raise WarehouseError(
                f"table {table} in {self.location} has schema version {found}, this package "
                f"writes version {SCHEMA_VERSION}: webscale-rl run migrates it"
            )

    def set_schema_version(self, table: str, version: int) -> None:
        """Say that a table has been migrated."""
        self.execute(
            f"ALTER TABLE {{table}} SET TBLPROPERTIES ('{SCHEMA_VERSION_PROPERTY}' = '{version}')",
            table=table,
        )

    def add_column(self, table: Table, column: str) -> None:
        """Give a table a column that its definition has, unless it is there."""
        if column in self._found(table.name).columns:
            return
        kind, meaning = next((kind, meaning) for name, kind, meaning in table.columns if name == column)
        definition = f"`{column}` {kind.simpleString()} COMMENT '{_quoted(meaning)}'"
        self.execute(f"ALTER TABLE {{table}} ADD COLUMNS ({definition})", table=table.name)

    def describe_column(self, table: Table, column: str) -> None:
        """Write a column's meaning of today as its comment."""
        meaning = next(meaning for name, _, meaning in table.columns if name == column)
        self.execute(
            f"ALTER TABLE {{table}} ALTER COLUMN `{column}` COMMENT '{_quoted(meaning)}'", table=table.name
        )

    # -- writing -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the folder or schema, and see that it can be written.

        Raises:
            WarehouseError: it cannot be made or written.
        """
        folder = self.local_folder
        if self.is_schema:
            try:
                self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {self.location}")
            except SPARK_ERRORS as error:
                raise WarehouseError(f"schema {self.location} cannot be used: {first_line(error)}") from error
        elif folder is not None:
            check_writable(folder)

    def create(self, table: Table) -> None:
        """Create the table with its column comments and schema version, unless it is there."""
        if table.name in self._current:
            return
        if self.exists(table.name):
            # A table that the migrating run did not know, a plugin's, needs the new number only.
            if self.lease is not None and self.schema_version(table.name) < self.version == SCHEMA_VERSION:
                self.set_schema_version(table.name, SCHEMA_VERSION)
            self.check_schema_version(table.name)
            self._current.add(table.name)
            return
        columns = ", ".join(
            f"`{name}` {kind.simpleString()} COMMENT '{_quoted(meaning)}'"
            for name, kind, meaning in table.columns
        )
        partition = f"PARTITIONED BY ({', '.join(table.partition_by)})" if table.partition_by else ""
        statement = (
            f"CREATE TABLE IF NOT EXISTS {self.identifier(table.name)} ({columns}) USING delta "
            f"{partition} COMMENT '{_quoted(table.meaning)}' "
            f"TBLPROPERTIES ('{SCHEMA_VERSION_PROPERTY}' = '{SCHEMA_VERSION}')"
        )
        try:
            self.spark.sql(statement)
        except SPARK_ERRORS:
            # Two first runs at once: the one whose commit comes second is told of a conflict.
            if not self.exists(table.name):
                raise
            self.check_schema_version(table.name)
        self._known.add(table.name)
        self._current.add(table.name)

    def claim(self, table: str, lane: int = 0) -> None:
        """Raise the table's transaction version to this run's epoch before its pending work is read.

        After it, no earlier run can append to the table, so what this run sees as pending stays so. Where
        a newer run has claimed it, this one's appends say so.
        """
        if (table, lane) in self._claimed:
            return
        self.create(self.tables[table])
        self._commit(table, self._no_rows(table), lane)
        self._claimed.add((table, lane))

    def append(self, table: str, rows: DataFrame, lane: int = 0) -> None:
        """Append rows in one commit, if this run still holds the warehouse.

        Args:
            rows: the table's columns, in any order; extra columns are dropped.
            lane: appends that are in flight side by side need a lane each.

        Raises:
            OvertakenError: a newer run has taken the warehouse; this one writes nothing more.
        """
        self._fenced_write(table, rows, lane, "append")

    def _fenced_write(self, table: str, rows: DataFrame, lane: int, mode: str) -> None:
        definition = self.tables[table]
        self.create(definition)
        shaped = rows.select(*[F.col(name).cast(kind).alias(name) for name, kind, _ in definition.columns])
        self._commit(table, shaped, lane, mode)
        self._check_lease()

    def _check_lease(self) -> None:
        if self.lease is not None:
            self.lease.check()

    def _commit(self, table: str, rows: DataFrame, lane: int, mode: str = "append") -> None:
        """Write under the next version of the lane."""
        writer = rows.write.format("delta").mode(mode)
        if self.lease is not None:
            self._counters[table, lane] += 1
            version = (self.lease.epoch << _COUNTER_BITS) + self._counters[table, lane]
            writer = writer.option("txnAppId", f"webscale-rl/{lane}").option("txnVersion", version)
        if self.is_schema:
            writer.saveAsTable(self.identifier(table))
        else:
            writer.save(f"{self.location}/{table}")

    def replace(self, table: str, rows: DataFrame) -> None:
        """Replace the whole table in one commit, if this run still holds the warehouse.

        Raises:
            OvertakenError: a newer run has taken the warehouse; this one writes nothing more.
        """
        self._check_lease()
        self._fenced_write(table, rows, 0, "overwrite")

    def execute(self, statement: str, **tables: str) -> None:
        """Run an UPDATE, DELETE or MERGE; ``{name}`` stands for a table's identifier."""
        names = {name: self.identifier(table) for name, table in tables.items()}
        self.spark.sql(statement.format(**names)).collect()

    def delete(self, table: str, rows: DataFrame) -> None:
        """Delete the rows of earlier runs that have the values of ``rows`` in all its columns.

        Raises:
            OvertakenError: a newer run has taken the warehouse; nothing was deleted.
        """
        self._check_lease()
        view = f"deleted_from_{table}"
        matches = " AND ".join(f"t.`{name}` <=> s.`{name}`" for name in rows.columns)
        # What a newer run has written meanwhile stays.
        older = "" if self.lease is None else f" AND t.run < {self.lease.epoch}"
        rows.distinct().localCheckpoint().createOrReplaceTempView(view)
        try:
            self.execute(
                f"MERGE INTO {{table}} AS t USING {view} AS s ON {matches}{older} WHEN MATCHED THEN DELETE",
                table=table,
            )
        finally:
            self.spark.catalog.dropTempView(view)

    # -- scratch -------------------------------------------------------------------------------

    def write_scratch(self, name: str, rows: DataFrame, partition_by: list[str]) -> DataFrame:
        """Write rows that live as long as one stage's run; what an earlier run left is replaced."""
        table = f"scratch_{name}"
        if self.is_schema:
            self.spark.sql(f"DROP TABLE IF EXISTS {self.identifier(table)}")
            rows.write.format("delta").partitionBy(*partition_by).saveAsTable(self.identifier(table))
        else:
            path = f"{self.location}/_scratch/{name}"
            rows.write.mode("overwrite").partitionBy(*partition_by).parquet(path)
        return self.scratch(name, rows.schema, self.spark)

    def scratch(self, name: str, schema: StructType, spark: SparkSession) -> DataFrame:
        """What `write_scratch` wrote, as a session reads it."""
        if self.is_schema:
            return spark.table(self.identifier(f"scratch_{name}"))
        return spark.read.schema(schema).parquet(f"{self.location}/_scratch/{name}")

    def drop_scratch(self, name: str) -> None:
        """Drop what `write_scratch` wrote."""
        folder = self.local_folder
        if self.is_schema:
            self.spark.sql(f"DROP TABLE IF EXISTS {self.identifier(f'scratch_{name}')}")
        elif folder is not None:
            shutil.rmtree(folder / "_scratch" / name, ignore_errors=True)
        else:
            empty = self.spark.createDataFrame([], "nothing string")
            empty.write.mode("overwrite").parquet(f"{self.location}/_scratch/{name}")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def check_writable(folder: Path) -> None:
    """See that a local folder can be made and written.

    Raises:
        WarehouseError: it cannot; the message names the folder and the cause.
    """
    probe = folder / ".webscale-rl-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"ok")
        probe.unlink()
    except OSError as error:
        raise WarehouseError(
            f"the warehouse folder {folder} cannot be written ({error.strerror or error}): "
            "choose another with --warehouse, or fix its permissions"
        ) from error
