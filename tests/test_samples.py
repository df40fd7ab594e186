"""The stages without a model on the sample corpus: what becomes of every row stands in expected.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from webscale_rl.config.load import load
from webscale_rl.report.views import active_recipes
from webscale_rl.run.pipeline import Pipeline
from webscale_rl.runtime.flow import Flow, kept
from webscale_rl.stages.registry import STAGES

SAMPLES = Path(__file__).parent.parent / "samples"
WITHOUT_MODEL = ("ingest", "filter", "deduplicate", "segment")


@pytest.fixture(scope="module")
def flow(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    config = load(SAMPLES / "demo.yml", (), {"warehouse": str(tmp_path_factory.mktemp("samples"))})
    pipeline = Pipeline(config=config, spark=spark)
    pipeline.run(stages=WITHOUT_MODEL)
    warehouse = pipeline.open()
    return Flow(STAGES, warehouse.read, active_recipes(warehouse))


def test_every_row_ends_where_the_table_says(flow: Flow) -> None:
    documents = flow.documents().select("document_key", "source_id")
    ended: dict[str | None, tuple[str, str, set[str]]] = {}
    for stage in WITHOUT_MODEL:
        rows = flow.rows(stage).select("document_key", "status", "reasons")
        named = rows.join(documents, "document_key").select("source_id", "status", "reasons")
        for identifier, status, reasons in {
            (row["source_id"], row["status"], tuple(row["reasons"])) for row in named.collect()
        }:
            if status == "rejected" or stage == "segment":
                ended[identifier] = (stage, status, set(reasons))
    with (SAMPLES / "expected.csv").open(encoding="utf-8", newline="") as handle:
        expected = list(csv.DictReader(handle))
    wrong = []
    for row in expected:
        found = ended.get(row["id"] or None)
        twin = row["note"].partition("twin of ")[2].partition(":")[0]
        if twin:
            # Which of two copies stays is decided by their keys; one does, the other does not.
            reason = "near_duplicate" if row["note"].startswith("near") else "exact_duplicate"
            both = sorted((ended[row["id"]], ended[twin]))
            if both != [("deduplicate", "rejected", {reason}), ("segment", "kept", set())]:
                wrong.append((row, both))
        elif (
            found is None
            or found[:2] != (row["stage"], row["status"])
            or (row["reason"] and row["reason"] not in found[2])
        ):
            wrong.append((row, found))
    assert not wrong
    assert len(expected) == 89


def test_null_bytes_are_removed_and_the_document_is_kept(flow: Flow) -> None:
    row = flow.documents().where("source_id = 'nul-01'").collect()[0]
    assert row["status"] == "kept"
    assert "\x00" not in row["text"]


def test_the_long_document_becomes_passages_that_lose_no_text(flow: Flow) -> None:
    document = flow.documents().where("source_id = 'long-01'").collect()[0]
    passages = (
        kept(flow.rows("segment"))
        .where(F.col("document_key") == document["document_key"])
        .orderBy("ordinal")
        .collect()
    )
    assert len(passages) > 1
    joined = "".join("".join(row["text"].split()) for row in passages)
    assert joined == "".join(document["text"].split())
    assert {row["title"] for row in passages} == {document["title"]}


def test_licence_and_address_travel_with_each_document(flow: Flow) -> None:
    rows = {row["source_id"]: row for row in flow.documents().collect()}
    assert rows["math-01"]["licence"] == "CC0-1.0"
    assert rows["math-01"]["url"].endswith("/math-01")
    assert rows["bare-01"]["licence"] == "unknown"
    assert rows["bare-01"]["url"] is None
