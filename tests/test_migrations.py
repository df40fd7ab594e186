"""A warehouse of an older schema version: read as it is, taken up by a run, and never half way.

`data/warehouse-v3.tgz` (data/README.md) was made by the code of schema version 3: three good documents, a
copy, a short one, and a request of screen that can never be answered.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from tests.helpers import ROOT, TABLES, about, by_stage, collected, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.core.table import SCHEMA_VERSION, SCHEMA_VERSION_PROPERTY
from webscale_rl.errors import WarehouseError
from webscale_rl.storage import migrations
from webscale_rl.storage.warehouse import Warehouse

FUNNEL = {
    "ingest": (5, 5, 0, 0),
    "filter": (5, 4, 1, 0),
    "deduplicate": (4, 3, 1, 0),
    "segment": (3, 3, 0, 0),
    "screen": (3, 2, 1, 0),
    "identify": (2, 2, 0, 0),
    "generate": (4, 4, 0, 0),
    "check": (4, 4, 0, 0),
    "decontaminate": (4, 4, 0, 0),
}


def unpacked(spark: SparkSession, folder: Path) -> Pipeline:
    with tarfile.open(ROOT / "tests" / "data" / "warehouse-v3.tgz") as archive:
        archive.extractall(folder, filter="data")
    return make_pipeline(spark, folder, replies=prepared(3), lasting=about(2) + "Judge the document")


def funnel(pipeline: Pipeline) -> dict[str, tuple[int, int, int, int]]:
    statuses = by_stage(pipeline.status())
    return {name: (s.rows_in, s.kept, s.rejected, s.pending) for name, s in statuses.items()}


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def versions(pipeline: Pipeline) -> dict[str, int]:
    warehouse = pipeline.open()
    return {name: warehouse.schema_version(name) for name in TABLES if warehouse.exists(name)}


def pairs(pipeline: Pipeline) -> list[tuple[str, str]]:
    return sorted((row["question"], row["answer"]) for row in collected(pipeline.open().read("qa_pairs")))


@pytest.mark.timeout(900)
def test_a_run_takes_up_a_warehouse_of_version_3(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = unpacked(spark, tmp_path)
    before = files(tmp_path / "wh")
    # What only reads changes nothing, and sees what a run will have made of it.
    assert funnel(pipeline) == FUNNEL
    faults = "SELECT fault, error FROM completions WHERE fault IS NOT NULL"
    (fault,) = pipeline.sql(faults).collect()
    assert tuple(fault) == ("permanent", "told_to_fail: for good")
    assert pipeline.sql("SELECT count(*) FROM qa_pairs").collect()[0][0] == 4
    planned = {line.stage: line for line in pipeline.plan()}
    assert sum(line.requests for line in planned.values() if not line.bound) == 0
    assert set(versions(pipeline).values()) == {3}
    accepted = pairs(pipeline)
    assert len(accepted) == 4
    assert files(tmp_path / "wh") == before

    # Killed between two tables, it is done again.
    raised = Warehouse.set_schema_version
    done: list[str] = []

    def killed(self: Warehouse, table: str, version: int) -> None:
        if len(done) == 3:
            raise RuntimeError("killed")
        done.append(table)
        raised(self, table, version)

    with monkeypatch.context() as patch:
        patch.setattr(Warehouse, "set_schema_version", killed)
        with pytest.raises(RuntimeError, match="killed"):
            pipeline.run()
    half = versions(pipeline)
    assert half["lease"] == 3
    assert {name for name, version in half.items() if version == SCHEMA_VERSION} == set(done)

    result = pipeline.run()
    assert (result.outcome, result.requests, result.pairs) == ("done", 0, 4)
    assert len(called(tmp_path / "log")) == 15, "no model was called"
    assert pairs(pipeline) == accepted
    assert set(versions(pipeline).values()) == {SCHEMA_VERSION}
    assert funnel(pipeline) == FUNNEL
    (fault,) = pipeline.sql(faults).collect()
    assert tuple(fault) == ("permanent", "told_to_fail: for good")
    for name, table in TABLES.items():
        if pipeline.open().exists(name):
            found = pipeline.open().read(name)
            assert sorted(found.columns) == sorted(table.column_names), name


def test_only_a_run_writes_to_an_older_table(spark: SparkSession, tmp_path: Path) -> None:
    pipeline = unpacked(spark, tmp_path)
    warehouse = pipeline.open()
    with pytest.raises(WarehouseError, match=r"schema version 3, .* webscale-rl run migrates it"):
        warehouse.append("completions", warehouse.read("completions"))
    spark.sql(
        f"ALTER TABLE {warehouse.identifier('lease')} SET TBLPROPERTIES ('{SCHEMA_VERSION_PROPERTY}' = '2')"
    )
    with pytest.raises(WarehouseError, match="schema version 2, this package writes version"):
        pipeline.status()


def test_migrations_lead_to_today_s_version_without_a_gap() -> None:
    steps = [migration.to for migration in migrations.MIGRATIONS]
    assert steps == list(range(migrations.OLDEST + 1, SCHEMA_VERSION + 1))
