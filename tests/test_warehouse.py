"""The warehouse: names, schema versions, and writes that a newer run can shut out."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.helpers import TABLES
from webscale_rl import Pipeline
from webscale_rl.core.table import SCHEMA_VERSION_PROPERTY
from webscale_rl.errors import OvertakenError, WarehouseBusyError, WarehouseError
from webscale_rl.storage.lease import Lease
from webscale_rl.storage.tables import ATTEMPTS
from webscale_rl.storage.warehouse import Warehouse, check_writable


def attempt(spark: SparkSession, name: str) -> DataFrame:
    return spark.createDataFrame(
        [(name, "stage", "recipe", 1, "error", None, 1, "an extra column")],
        "request_id string, stage string, recipe string, number long, error string, failed_at timestamp, "
        "run int, extra string",
    )


def names(warehouse: Warehouse) -> list[str]:
    return sorted(row["request_id"] for row in warehouse.read("attempts").collect())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warehouse")


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, folder: Path) -> Warehouse:
    made = Warehouse(spark, str(folder / "wh it's"), TABLES)
    made.prepare()
    made.create(ATTEMPTS)
    return made


def test_locations(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Warehouse(spark, "wh").local_folder == tmp_path / "wh"
    assert Warehouse(spark, "./a.b/wh/").local_folder == tmp_path / "a.b" / "wh"
    assert Warehouse(spark, "s3a://bucket/wh/").identifier("lease") == "delta.`s3a://bucket/wh/lease`"
    assert Warehouse(spark, "s3a://bucket/wh").local_folder is None
    assert Warehouse(spark, "main.rl").identifier("lease") == "`main`.`rl`.`lease`"
    assert Warehouse(spark, "schema:rl").identifier("lease") == "`rl`.`lease`"
    for bad in ("", "a`b", "schema:a.b.c", "schema:a-b", "a\x00b"):
        with pytest.raises(WarehouseError):
            Warehouse(spark, bad)
    with pytest.raises(WarehouseError, match="not a table name"):
        Warehouse(spark, "wh").identifier("a; DROP TABLE b")


def test_a_table_that_is_not_there_has_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    warehouse = Warehouse(spark, str(tmp_path / "none"), TABLES)
    for name, table in TABLES.items():
        read = warehouse.read(name)
        assert [(f.name, f.dataType) for f in read.schema] == [(f.name, f.dataType) for f in table.schema]
    assert warehouse.read("qa_pairs").isEmpty()
    assert not (tmp_path / "none").exists(), "reading makes nothing"


def test_tables_carry_their_meaning_and_schema_version(spark: SparkSession, warehouse: Warehouse) -> None:
    described = {
        row["col_name"]: row["comment"]
        for row in spark.sql(f"DESCRIBE TABLE {warehouse.identifier('attempts')}").collect()
    }
    for name, _, meaning in ATTEMPTS.columns:
        assert described[name] == meaning
    warehouse.check_schema_version("attempts")


def test_rows_are_shaped_to_the_table(spark: SparkSession, warehouse: Warehouse) -> None:
    warehouse.append("attempts", attempt(spark, "no lease"))
    (row,) = warehouse.read("attempts").collect()
    assert row.asDict() == {
        "request_id": "no lease",
        "stage": "stage",
        "recipe": "recipe",
        "number": 1,
        "error": "error",
        "failed_at": None,
        "run": 1,
    }
    with pytest.raises(Exception, match="number"):
        warehouse.append("attempts", attempt(spark, "x").drop("number"))


def test_scratch_is_replaced_and_dropped(spark: SparkSession, warehouse: Warehouse) -> None:
    rows = spark.createDataFrame([("a", 1), ("b", 2)], "k string, chunk int")
    assert warehouse.write_scratch("s", rows, ["chunk"]).count() == 2
    again = warehouse.write_scratch("s", rows.where("chunk = 1"), ["chunk"])
    assert [row["k"] for row in again.collect()] == ["a"]
    warehouse.drop_scratch("s")
    warehouse.drop_scratch("s")
    assert warehouse.local_folder is not None
    assert not (warehouse.local_folder / "_scratch" / "s").exists()


def test_an_overtaken_run_writes_nothing(spark: SparkSession, folder: Path) -> None:
    location = str(folder / "overtaken")
    old, new = Warehouse(spark, location, TABLES), Warehouse(spark, location, TABLES)
    old.prepare()
    first = Lease.take(old)
    old.append("attempts", attempt(spark, "old 1"))
    old.append("attempts", attempt(spark, "old 2"), lane=1)
    old.replace("active", spark.createDataFrame([("s", "r", 1)], TABLES["active"].schema))
    second = Lease.take(new, force=True)
    assert second.epoch == first.epoch + 1
    new.append("attempts", attempt(spark, "new"))
    new.claim("attempts", lane=1)
    new.replace("active", spark.createDataFrame([("s", "new", 2)], TABLES["active"].schema))
    # Delta refuses the old run's version, and the old run sees why.
    for lane in (0, 1):
        with pytest.raises(OvertakenError, match="was taken by run 2"):
            old.append("attempts", attempt(spark, "late"), lane=lane)
    with pytest.raises(OvertakenError, match="was taken by run 2"):
        old.replace("active", spark.createDataFrame([], TABLES["active"].schema))
    # What the new run did not need to touch is not replaced either.
    with pytest.raises(OvertakenError, match="was taken by run 2"):
        old.replace("recipes", spark.createDataFrame([], TABLES["recipes"].schema))
    # Delta's refusal does not depend on the look.
    first.check = lambda: None  # type: ignore[method-assign]
    for lane in (0, 1):
        old.append("attempts", attempt(spark, "later"), lane=lane)
    old.replace("active", spark.createDataFrame([], TABLES["active"].schema))
    # The new one goes on undisturbed.
    new.append("attempts", attempt(spark, "new 2"))
    assert names(new) == ["new", "new 2", "old 1", "old 2"]
    assert not new.exists("recipes")
    assert [row["recipe"] for row in new.read("active").collect()] == ["new"]
    first.release()
    new.append("attempts", attempt(spark, "new 3"))
    second.release()


def test_another_schema_version_is_refused_in_one_line(spark: SparkSession, folder: Path) -> None:
    location = folder / "versions"
    warehouse = Warehouse(spark, str(location), TABLES)
    warehouse.prepare()
    Lease.take(warehouse).release()
    spark.sql(
        f"ALTER TABLE {warehouse.identifier('lease')} SET TBLPROPERTIES ('{SCHEMA_VERSION_PROPERTY}' = '999')"
    )
    pipeline = Pipeline(config={"sources": []}, warehouse=str(location), spark=spark)
    for use in (
        lambda: Lease.take(Warehouse(spark, str(location), TABLES)),
        pipeline.status,
        lambda: pipeline.sql("SELECT 1"),
    ):
        with pytest.raises(WarehouseError) as caught:
            use()
        assert not isinstance(caught.value, WarehouseBusyError)
        assert "schema version 999, this package writes version" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(WarehouseError, match=r"cannot be written .*--warehouse"):
        check_writable(blocked / "wh")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(WarehouseError, match="Permission denied"):
        check_writable(tmp_path / "wh")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(WarehouseError, match="cannot be written"):
        check_writable(tmp_path / "wh")
