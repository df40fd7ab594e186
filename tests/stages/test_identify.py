"""identify: domain and personas, from what a capable model says or a small one scores."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.helpers import collected
from tests.stages.bodies import LABEL, SORT, TOPIC, completed, completion
from webscale_rl.stages.identify import stage as identify

GOOD: dict[str, Any] = {
    "reason": "",
    "informative": True,
    "self_contained": True,
    "answerable": True,
    "domain": "nature",
    "personas": [{"name": n, "interest": f"Wants {n}."} for n in ("a", "b", "c")],
}
KEYS = "passage_key string, document_key string"


def test_what_a_capable_model_says(spark: SparkSession) -> None:
    blank = {"name": " ", "interest": "x"}
    rows = [
        ("good", "d", completion(json.dumps(GOOD))),
        ("blank", "d", completion(json.dumps(GOOD | {"personas": [blank, GOOD["personas"][1]]}))),
        ("nobody", "d", completion(json.dumps(GOOD | {"personas": [blank]}))),
        ("empty", "d", completion(json.dumps(GOOD | {"personas": []}))),
        ("domain", "d", completion(json.dumps(GOOD | {"domain": "stars"}))),
        ("fault", "d", completion(error="told_to_fail: x")),
    ]
    found = {r["passage_key"]: r for r in collected(identify.finish(completed(spark, KEYS, rows), SORT))}
    assert {name: row["reasons"] for name, row in found.items()} == {
        "good": [],
        "blank": [],
        "nobody": ["no_persona"],
        "empty": ["no_persona"],
        "domain": ["reply_not_as_asked"],
        "fault": ["told_to_fail"],
    }
    assert found["good"]["domain"] == "nature"
    assert found["good"]["personas"] == GOOD["personas"][:2], "at most max_personas"
    assert [persona["name"] for persona in found["blank"]["personas"]] == ["b"]
    assert found["fault"]["domain"] is None
    assert found["fault"]["personas"] is None


def test_what_a_small_model_scores(spark: SparkSession) -> None:
    rows = [
        ("000000", "d", completion(" x", choices=[-1.0, -2.0, -5.0, -2.5])),
        ("000001", "d", completion(" x", choices=[-9.0, -2.0, -1.0, -2.5])),
        ("000002", "d", completion(" x", choices=[-9.0, -2.0, -1.0, -2.5])),
        ("tie", "d", completion(" x", choices=[-1.0, -1.0, -1.0, -1.0])),
        ("none", "d", completion(" x")),
        ("fault", "d", completion(error="bad: x")),
    ]
    found = {r["passage_key"]: r for r in collected(identify.finish(completed(spark, KEYS, rows), TOPIC))}
    assert (found["000000"]["domain"], found["000001"]["domain"]) == ("math", "nature")
    assert found["000000"]["domain_scores"] == pytest.approx({"math": -1.5, "nature": -5.0})
    # The domain's personas in turn, so that passages do not all have the same first one.
    first = {key: [p["name"] for p in found[key]["personas"]] for key in ("000001", "000002")}
    assert sorted(first["000001"]) == sorted(first["000002"]) == ["curious reader", "hiker"]
    assert first["000001"] != first["000002"]
    assert found["tie"]["domain"] == "math", "the first of the alphabet among equals"
    labelled = [("l", "d", completion(" plants", choices=[-3.0, -0.5, -1.0]))]
    (row,) = collected(identify.finish(completed(spark, KEYS, labelled), LABEL))
    assert (row["domain"], row["domain_scores"]) == ("nature", {"math": -3.0, "nature": -0.5})
    assert found["none"]["reasons"] == ["reply_missing"]
    assert found["fault"]["reasons"] == ["bad"]
    assert found["fault"]["personas"] is None


def test_a_plan_counts_no_more_personas_than_there_can_be() -> None:
    assert identify.personas_limit(SORT | {"max_personas": 2}) == 2
    assert identify.personas_limit(SORT | {"max_personas": 9}) == 9, "its schema has no limit"
    limited = json.loads(json.dumps(SORT | {"max_personas": 9}))
    limited["prompt"]["response_schema"]["properties"]["personas"]["maxItems"] = 3
    assert identify.personas_limit(limited) == 3
    typical = max(len(domain["readers"]) for domain in LABEL["domains"])
    assert identify.personas_limit(LABEL | {"max_personas": 9}) == typical
