"""screen: what is made of each kind of reply."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.helpers import collected
from tests.stages.bodies import LABEL, SORT, TOPIC, completed, completion
from webscale_rl.errors import ConfigError
from webscale_rl.llm.prompts import Domain, Prompt
from webscale_rl.stages.screen import stage as screen
from webscale_rl.stages.screen.stage import ScreenSettings
from webscale_rl.stages.screen.topic import beginning

GOOD = {
    "reason": "because",
    "informative": True,
    "self_contained": True,
    "answerable": True,
    "domain": "math",
    "personas": [],
}


def outcome(spark: SparkSession, body: dict[str, Any], rows: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    given = [(name, "d", reply) for name, reply in rows.items()]
    found = collected(screen.finish(completed(spark, "passage_key string, document_key string", given), body))
    assert all((row["status"] == "kept") == (row["reasons"] == []) for row in found)
    return {row["passage_key"]: row for row in found}


def test_replies_of_a_capable_model(spark: SparkSession) -> None:
    loose = SORT | {"prompt": SORT["prompt"] | {"response_schema": {"type": "object"}}}
    rows = {
        "good": completion(json.dumps(GOOD)),
        "no": completion(json.dumps(GOOD | {"informative": False, "answerable": False})),
        "alone": completion(json.dumps(GOOD | {"self_contained": False})),
        "domain": completion(json.dumps(GOOD | {"domain": "astrology"})),
        "fault": completion(error="context_exceeded: too long"),
        "cut": completion(json.dumps(GOOD), finish="length"),
        "text": completion("Yes, it is."),
    }
    found = outcome(spark, SORT, rows)
    assert {name: row["reasons"] for name, row in found.items()} == {
        "good": [],
        "no": ["not_answerable", "not_informative"],
        "alone": ["not_self_contained"],
        "domain": ["reply_not_as_asked"],
        "fault": ["context_exceeded"],
        "cut": ["reply_cut_off"],
        "text": ["reply_not_json"],
    }
    assert (found["good"]["comment"], found["no"]["informative"]) == ("because", False)
    assert found["good"]["request_id"] == "request"
    # A prompt of one's own may ask for less than it should: what is left out is no yes.
    assert outcome(spark, loose, {"empty": completion("{}")})["empty"]["reasons"] == [
        "not_answerable",
        "not_informative",
        "not_self_contained",
    ]


def test_scores_of_a_small_model(spark: SparkSession) -> None:
    # Choices in order: numbers, sums (math), plants (nature), cookies (junk).
    rows = {
        "math": completion(" numbers", choices=[-1.0, -2.0, -5.0, -2.5]),
        "close": completion(" numbers", choices=[-1.0, -2.0, -5.0, -1.9]),
        "junk": completion(" cookies", choices=[-5.0, -5.0, -5.0, -1.0]),
        "none": completion(" numbers"),
        "few": completion(" numbers", choices=[-1.0]),
        "fault": completion(error="empty_prompt: nothing"),
    }
    found = outcome(spark, TOPIC, rows)
    assert {name: row["reasons"] for name, row in found.items()} == {
        "math": [],
        "close": ["off_topic"],
        "junk": ["off_topic"],
        "none": ["reply_missing"],
        "few": ["reply_missing"],
        "fault": ["empty_prompt"],
    }
    assert found["math"]["score"] == pytest.approx(1.0)
    assert found["math"]["informative"] is None, "what the method does not say is null"


def test_one_word_a_domain_and_one_for_nothing(spark: SparkSession) -> None:
    # Choices in order: numbers (math), plants (nature), nothing.
    rows = {
        "math": completion(" numbers", choices=[-0.1, -4.0, -3.0]),
        "nothing": completion(" nothing", choices=[-3.0, -4.0, -0.1]),
        "several": completion(" nothing", choices=[-1.1, -1.1, -1.0]),
        "none": completion(" numbers"),
        "fault": completion(error="empty_prompt: nothing"),
    }
    found = outcome(spark, LABEL, rows)
    assert {name: row["reasons"] for name, row in found.items()} == {
        "math": [],
        "nothing": ["off_topic"],
        "several": [],
        "none": ["reply_missing"],
        "fault": ["empty_prompt"],
    }
    assert found["math"]["score"] == pytest.approx(0.949, abs=0.001)
    frame = spark.createDataFrame([("T", "short")], "title string, text string")
    request = json.loads(frame.select(screen.shared_request(LABEL)).collect()[0][0])
    assert request["choices"] == [" numbers", " plants", " nothing"]


@pytest.mark.parametrize(
    "text",
    [
        "short",
        "Granite is a coarse rock that consists of quartz.",
        "One. Two is long. Three " + "x" * 90,
        "“Is it so?” Nobody has told him. “Three " + "x" * 90,
        "And so it went on… Nobody saw an end of it.",
        "多瑙河是欧洲第二长河。发源于德国的黑森林，全长两千八百五十公里，流经十个国家。",
    ],
)
def test_training_sees_the_beginning_that_the_request_has(spark: SparkSession, text: str) -> None:
    frame = spark.createDataFrame([("T", text)], "title string, text string")
    request = json.loads(frame.select(screen.shared_request(LABEL)).collect()[0][0])
    assert request["messages"][0]["content"] == f"{beginning(text, 30)}\nSubject:"


def test_a_beginning_ends_with_a_sentence() -> None:
    assert beginning("He said “No.” Then he went.", 20) == "He said “No.”"
    assert beginning("And so on… Nobody knew.", 18) == "And so on…"
    assert beginning("多瑙河是欧洲第二长河。发源于德国。", 14) == "多瑙河是欧洲第二长河。"


def test_the_topic_request_reads_whole_words_of_the_beginning(spark: SparkSession) -> None:
    text = "Granite is a coarse rock that consists of quartz."
    rows = spark.createDataFrame([("T", text), ("T", "short")], "title string, text string")
    first, second = (json.loads(row[0]) for row in rows.select(screen.shared_request(TOPIC)).collect())
    assert first["messages"][0]["content"] == "Granite is a coarse rock that\nThe text above is about"
    assert second["messages"][0]["content"] == "short\nThe text above is about"
    assert first["choices"] == [" numbers", " sums", " plants", " cookies"]
    assert (first["response_schema"], first["prompt_format"]) == (None, "raw")


def test_the_prompt_request_has_the_domains(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("T", "Some text.")], "title string, text string")
    request = json.loads(rows.select(screen.shared_request(SORT)).collect()[0][0])
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert "Plants and stones." in request["messages"][0]["content"]
    assert request["messages"][1]["content"] == "T\nSome text."
    assert request["response_schema"]["properties"]["domain"]["enum"] == ["math", "nature"]


def test_a_prompt_that_asks_for_too_little_is_refused() -> None:
    settings = ScreenSettings.model_validate(
        {
            "engine": "fake",
            "prompt": "mine",
            "sampling": {k: v for k, v in SORT["sampling"].items() if k not in ("stop", "max_tokens")},
            "method": "prompt",
            "junk_words": ["x"],
            "max_chars": 400,
            "min_margin": 0.0,
            "max_nothing": 0.5,
        }
    )
    poor = Prompt(version=1, user="{passage}", max_tokens=5, schema={"type": "object", "properties": {}})
    domains = [Domain.model_validate(domain) for domain in SORT["domains"]]
    with pytest.raises(ConfigError, match="prompt mine: its schema lacks answerable, domain, informative"):
        screen.recipe_body(settings, poor, SORT["engine"], domains)
