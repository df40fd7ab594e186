"""qa_pairs: which pairs are the product, with what, and when it counts as changed."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.helpers import STAGE_NAMES, STAGE_TABLE, TABLES, collected
from webscale_rl.runtime.flow import Flow
from webscale_rl.stages import publish as product
from webscale_rl.stages.generate.stage import pair_key
from webscale_rl.stages.publish import QA_PAIRS
from webscale_rl.stages.registry import STAGES

RECIPES = {stage: stage for stage in STAGE_NAMES}
IDENTIFIED = {"domain": "math", "personas": [{"name": n, "interest": "i"} for n in ("x", "y", "z")]}


@pytest.fixture(scope="module")
def flow(spark: SparkSession) -> Flow:
    """One document, one passage, three personas: kept, rejected by the check, contaminated."""
    unit = spark.createDataFrame(
        [("p", "math", name, "i", n) for n, name in enumerate("xyz")],
        "passage_key string, domain string, persona string, interest string, ordinal int",
    )
    keys = [row[0] for row in unit.select(pair_key("generate")).collect()]
    source = {"source": "s", "source_id": "1", "url": "u", "licence": "CC0", "content_hash": "h"}
    both = {"document_key": "d", "passage_key": "p"}
    pair = {"question": "Q?", "answer": "A", "answer_type": "name", "quotation": "A.", "domain": "math"}
    no = {"status": "rejected", "reasons": ["r"]}
    rows: dict[str, list[dict[str, Any]]] = {
        "documents": [{"document_key": "d", "text": "t", "ingest_commit": 1, **source}],
        "filtered": [{"document_key": "d"}],
        "deduplicated": [{"document_key": "d"}],
        "passages": [
            {**both, "text": "The passage.", "title": "T"},
            {**both, "text": "Cut otherwise.", "recipe": "old"},
        ],
        "screened": [both],
        "identified": [both | IDENTIFIED],
        "pairs": [{"pair_key": k, **both, **pair, "persona": n} for k, n in zip(keys, "xyz", strict=True)],
        "checked": [
            {
                "pair_key": keys[0],
                "verdicts": {"lengths": True, "judge": None},
                "scores": {"round_trip": 1.0},
            },
            {"pair_key": keys[1], **no},
            {"pair_key": keys[2], "verdicts": {}},
        ],
        "decontaminated": [{"pair_key": keys[0]}, {"pair_key": keys[2], **no}],
    }
    stage_of = {table: stage for stage, table in STAGE_TABLE.items()}

    def frame(name: str) -> DataFrame:
        plain = {"status": "kept", "reasons": [], "run": 1, "recipe": stage_of[name]}
        filled = [plain | row for row in rows[name]]
        columns = TABLES[name].column_names
        return spark.createDataFrame([tuple(r.get(c) for c in columns) for r in filled], TABLES[name].schema)

    return Flow(STAGES, {name: frame(name) for name in rows}.__getitem__, RECIPES, persist=True)


def test_accepted_pairs_carry_their_lineage(flow: Flow) -> None:
    rows = product.accepted(flow, {"generate": "fake:m"}, RECIPES)
    assert set(rows.columns) == set(QA_PAIRS.column_names)
    (pair,) = collected(rows)
    expected = {
        "question": "Q?",
        "persona": "x",
        "passage": "The passage.",
        "title": "T",
        "url": "u",
        "licence": "CC0",
        "verdicts": {"lengths": True, "judge": None},
        "scores": {"round_trip": 1.0},
        "models": {"generate": "fake:m"},
        "recipes": RECIPES,
    }
    assert {name: pair[name] for name in expected} == expected


def test_a_fingerprint_tells_states_apart(flow: Flow) -> None:
    rows = product.accepted(flow, {}, RECIPES)

    def state(frame: DataFrame) -> dict[str, Any]:
        return collected(product.fingerprint(frame))[0]

    same = state(rows)
    assert same["rows"] == 1
    assert state(rows.repartition(3)) == same
    assert state(rows.unionByName(rows)) != same
    assert state(rows.where("false")) == {"rows": 0, "sum": 0}
    for column in ("question", "answer", "licence", "url"):
        assert state(rows.withColumn(column, F.lit("other"))) != same, column
    assert state(product.accepted(flow, {}, RECIPES | {"check": "new"})) != same
