"""Which rows are current and which are pending, on tables made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.helpers import STAGE_NAMES, STAGE_TABLE, TABLES
from webscale_rl.runtime.flow import Flow, current_documents
from webscale_rl.stages.registry import STAGES

RECIPES = {stage: f"{stage}-2" for stage in STAGE_NAMES}


def table(spark: SparkSession, name: str, rows: list[dict[str, Any]]) -> DataFrame:
    """Rows of a table, with what they leave out null, kept unless they say otherwise."""
    columns = TABLES[name].column_names
    stage = next((s for s, t in STAGE_TABLE.items() if t == name), name)
    filled = [{"status": "kept", "reasons": [], "run": 1, "recipe": f"{stage}-2", **row} for row in rows]
    return spark.createDataFrame(
        [tuple(row.get(column) for column in columns) for row in filled], TABLES[name].schema
    )


def doc(key: str, commit: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "document_key": key,
        "source": "s",
        "text": f"text of {key}",
        "content_hash": f"hash {key}",
        "ingest_commit": commit,
        "run": commit,
        **more,
    }


PERSONAS = [{"name": "p0", "interest": "i0"}, {"name": "p1", "interest": None}]


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> dict[str, DataFrame]:
    """Documents a to f at different stations; rows of older recipes must not count."""
    rejected = {"status": "rejected", "reasons": ["r"]}
    keys = [doc(k) for k in "abcdef"]
    rows: dict[str, list[dict[str, Any]]] = {
        "documents": [*keys, doc("x", **rejected)],
        # a: everything done; b: filter only under an older recipe; c: rejected there.
        "filtered": [
            *[{"document_key": k} for k in "adef"],
            {"document_key": "b", "recipe": "filter-1"},
            {"document_key": "c", **rejected},
            {"document_key": "c", "recipe": "filter-1"},
            {"document_key": "gone"},
        ],
        "deduplicated": [
            *[{"document_key": k, "run": 1} for k in "ade"],
            # f was kept in run 1 and lost an election in run 2.
            {"document_key": "f", "run": 1},
            {"document_key": "f", "run": 2, **rejected},
        ],
        "passages": [
            {"passage_key": "a0", "document_key": "a", "text": "A0", "title": "A", "ordinal": 0},
            {"passage_key": "a1", "document_key": "a", "text": "A1", "title": "A", "ordinal": 1},
            {"passage_key": "d-", "document_key": "d", **rejected},
            {"passage_key": "old", "document_key": "e", "recipe": "segment-1"},
            {"passage_key": "g0", "document_key": "gone"},
        ],
        "screened": [{"passage_key": "a0", "document_key": "a"}],
        "identified": [{"passage_key": "a0", "document_key": "a", "domain": "math", "personas": PERSONAS}],
    }
    return {name: table(spark, name, found) for name, found in rows.items()}


def flow_over(spark: SparkSession, tables: dict[str, DataFrame], **more: Any) -> Flow:
    return Flow(STAGES, lambda name: tables.get(name, table(spark, name, [])), RECIPES, **more)


def keys_of(rows: DataFrame, key: str) -> list[str]:
    return sorted(row[0] for row in rows.select(key).collect())


def test_keys_pending_and_rows(spark: SparkSession, tables: dict[str, DataFrame]) -> None:
    flow = flow_over(spark, tables)
    expected = {
        "filter": (["a", "b", "c", "d", "e", "f"], ["b"], ["a", "c", "d", "e", "f"]),
        "deduplicate": (["a", "d", "e", "f"], [], ["a", "d", "e", "f"]),
        "segment": (["a", "d", "e"], ["e"], ["a", "a", "d"]),
        "screen": (["a0", "a1"], ["a1"], ["a0"]),
        "identify": (["a0"], [], ["a0"]),
    }
    for stage, (keys, pending, rows) in expected.items():
        key = STAGES.get(stage).subject.key
        assert keys_of(flow.keys(stage), key) == keys, stage
        assert keys_of(flow.pending_keys(stage), key) == pending, stage
        assert keys_of(flow.rows(stage), key) == rows, stage
    newest = {r["document_key"]: r["status"] for r in flow.rows("deduplicate").collect()}
    assert newest["f"] == "rejected"
    (passage,) = flow.pending("screen").collect()
    assert (passage["passage_key"], passage["title"], passage["text"]) == ("a1", "A", "A1")


def test_one_row_a_persona(spark: SparkSession, tables: dict[str, DataFrame]) -> None:
    flow = flow_over(spark, tables)
    units = sorted(flow.pending("generate").collect(), key=lambda row: row["ordinal"])
    assert [(u["persona"], u["interest"], u["ordinal"]) for u in units] == [
        ("p0", "i0", 0),
        ("p1", None, 1),
    ]
    assert {u["text"] for u in units} == {"A0"}
    assert {u["domain"] for u in units} == {"math"}
    keys = {u["pair_key"] for u in units}
    assert len(keys) == 2
    # Another generate recipe gives other pairs; the same one the same.
    other = Flow(STAGES, flow.read, RECIPES | {"generate": "generate-3"})
    assert keys.isdisjoint(keys_of(other.keys("generate"), "pair_key"))
    assert keys == set(keys_of(flow_over(spark, tables).keys("generate"), "pair_key"))
    # One finished pair: the other stays pending, and check sees the finished one.
    done = sorted(keys)[0]
    with_pair = tables | {
        "pairs": table(
            spark,
            "pairs",
            [{"pair_key": done, "passage_key": "a0", "document_key": "a", "question": "q"}],
        )
    }
    later = flow_over(spark, with_pair)
    assert keys_of(later.pending_keys("generate"), "pair_key") == sorted(keys)[1:]
    (pair,) = later.inputs("check").collect()
    assert (pair["pair_key"], pair["question"], pair["passage"], pair["title"]) == (done, "q", "A0", "A")
    assert keys_of(later.keys("decontaminate"), "pair_key") == []


def test_a_limit_takes_the_smallest_document_keys(spark: SparkSession, tables: dict[str, DataFrame]) -> None:
    empty = {"documents": tables["documents"]}
    assert keys_of(flow_over(spark, empty, limit=2).pending_keys("filter"), "document_key") == ["a", "b"]
    # The limit is on documents, not on what is left to do: those that are done count.
    assert keys_of(flow_over(spark, tables, limit=2).pending_keys("filter"), "document_key") == ["b"]
    assert keys_of(flow_over(spark, tables, limit=1).pending_keys("screen"), "passage_key") == ["a1"]


def test_a_stage_without_a_recipe_has_no_rows(spark: SparkSession, tables: dict[str, DataFrame]) -> None:
    flow = Flow(STAGES, flow_over(spark, tables).read, {"filter": "filter-2"})
    assert keys_of(flow.rows("filter"), "document_key") == ["a", "c", "d", "e", "f"]
    assert keys_of(flow.rows("deduplicate"), "document_key") == []


def test_persisted_frames_are_made_once(spark: SparkSession, tables: dict[str, DataFrame]) -> None:
    flow = flow_over(spark, tables, persist=True)
    first = flow.keys("deduplicate")
    assert flow.keys("deduplicate") is first
    assert keys_of(first, "document_key") == ["a", "d", "e", "f"]
    flow.release()
    assert flow.keys("deduplicate") is not first


def test_documents_in_force(spark: SparkSession) -> None:
    rejected = {"status": "rejected", "reasons": ["r"]}
    rows = [
        # one identifier, three texts one after the other
        doc("k1", 1, source_id="id"),
        doc("k2", 2, source_id="id"),
        doc("k3", 3, source_id="id"),
        # the same identifier of another source is another document
        doc("k4", 1, source_id="id", source="t"),
        # a reverted text: the same key again
        doc("r1", 1, source_id="rev"),
        doc("r2", 2, source_id="rev"),
        doc("r1", 3, source_id="rev"),
        # without an identifier nothing is superseded
        doc("n1", 1),
        doc("n2", 2),
        # copies under one identifier that came in one after the other
        doc("c0", 1, source_id="copy", content_hash="same"),
        doc("c1", 2, source_id="copy", content_hash="same", occurrence=1),
        # a rejected row takes nobody's place
        doc("f1", 1, source_id="fault"),
        doc("f2", 2, source_id="fault", **rejected),
        # and a key that is rejected later is rejected
        doc("l1", 1, source_id="late"),
        doc("l1", 2, source_id="late", **rejected),
    ]
    found = current_documents(table(spark, "documents", rows)).collect()
    assert sorted((row["document_key"], row["ingest_commit"], row["status"]) for row in found) == [
        ("c0", 1, "kept"),
        ("c1", 2, "kept"),
        ("f1", 1, "kept"),
        ("f2", 2, "rejected"),
        ("k3", 3, "kept"),
        ("k4", 1, "kept"),
        ("l1", 2, "rejected"),
        ("n1", 1, "kept"),
        ("n2", 2, "kept"),
        ("r1", 3, "kept"),
    ]
