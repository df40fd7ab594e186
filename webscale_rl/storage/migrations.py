"""How a warehouse of an older schema version is taken up.

A run migrates under its lease, before it writes anything. Each migration may be done twice, every table's
version is raised behind it, and that of `lease`, which says how far a warehouse is, comes last: so one
that was killed is simply done again. What only reads sees an older warehouse as a migration would leave it,
and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from udfs.engines.completion import FORMER_FAULTS
from webscale_rl.core.table import SCHEMA_VERSION, Table
from webscale_rl.storage.fence import Fence
from webscale_rl.storage.tables import COMPLETIONS, LEASE


class Tables(Protocol):
    """What a migration needs of a warehouse (`storage.warehouse.Warehouse`, which rests upon this module)."""

    tables: dict[str, Table]
    lease: Fence | None
    version: int

    def exists(self, table: str) -> bool:
        """Whether a table is there."""

    def execute(self, statement: str, **tables: str) -> None:
        """Run an UPDATE, DELETE or MERGE."""

    def schema_version(self, table: str) -> int:
        """The schema version of a table."""

    def set_schema_version(self, table: str, version: int) -> None:
        """Say that a table has been migrated."""

    def add_column(self, table: Table, column: str) -> None:
        """Add a column, unless it is there."""

    def describe_column(self, table: Table, column: str) -> None:
        """Write a column's meaning of today as its comment."""


@dataclass(frozen=True)
class Migration:
    """One step from a schema version to the next.

    Attributes:
        to: the version that it makes.
        meaning: what it does, in one line.
        apply: does it; doing it again changes nothing.
        read: the rows of a table (its name, its rows with all columns) as it leaves them.
    """

    to: int
    meaning: str
    apply: Callable[[Tables], None]
    read: Callable[[str, DataFrame], DataFrame]


def migrate(warehouse: Tables) -> list[Migration]:
    """Bring a warehouse that this run holds to this package's schema version; what was done.

    Raises:
        WarehouseError: a table is of a version that this package cannot read.
        OvertakenError: a newer run has taken the warehouse.
    """
    found = warehouse.schema_version(LEASE.name)
    due = [migration for migration in MIGRATIONS if migration.to > found]
    others = [name for name in warehouse.tables if name != LEASE.name]
    for migration in due:
        if warehouse.lease is not None:
            warehouse.lease.check()
        migration.apply(warehouse)
        for name in (*others, LEASE.name):
            if warehouse.exists(name) and warehouse.schema_version(name) < migration.to:
                warehouse.set_schema_version(name, migration.to)
    warehouse.version = SCHEMA_VERSION
    return due


def as_migrated(table: str, rows: DataFrame, version: int) -> DataFrame:
    """Rows of a table of an older version, as the migrations from there on will leave them."""
    for migration in MIGRATIONS:
        if migration.to > version:
            rows = migration.read(table, rows)
    return rows


def _migrate_faults(warehouse: Tables) -> None:
    if not warehouse.exists(COMPLETIONS.name):
        return
    for former, now in FORMER_FAULTS.items():
        warehouse.execute(
            f"UPDATE {{completions}} SET fault = '{now}' WHERE fault = '{former}'",
            completions=COMPLETIONS.name,
        )
    warehouse.describe_column(COMPLETIONS, "fault")
    # Null where it was not kept: such a fault is asked about once more.
    warehouse.add_column(COMPLETIONS, "decided_by")


def _read_faults(table: str, rows: DataFrame) -> DataFrame:
    if table != COMPLETIONS.name:
        return rows
    fault = F.col("fault")
    for former, now in FORMER_FAULTS.items():
        fault = F.when(F.col("fault") == former, now).otherwise(fault)
    return rows.withColumn("fault", fault)


MIGRATIONS = (
    Migration(
        4,
        "faults of completions are called permanent and transient, and remember what decided them",
        _migrate_faults,
        _read_faults,
    ),
)
OLDEST = MIGRATIONS[0].to - 1
