"""Replies: the value, or the reason why there is none."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from webscale_rl.llm.read_reply import MAX_REPLY_CHARS, PARSE_REASONS, read_reply
from webscale_rl.llm.replies import reply_column

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["answer", "right"],
    "additionalProperties": False,
    "properties": {"answer": {"type": "string"}, "right": {"type": "boolean"}},
}
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOOD = '{"right": true, "answer": "é"}'


@pytest.mark.parametrize(
    ("reply", "finish", "error", "expected"),
    [
        (GOOD, "stop", None, ('{"answer": "é", "right": true}', None)),
        (f"  {GOOD}\n", "stop", None, ('{"answer": "é", "right": true}', None)),
        (GOOD, "length", None, (None, "reply_cut_off")),
        (None, "stop", None, (None, "reply_missing")),
        ("", "stop", None, (None, "reply_not_json")),
        ('{"answer": "a", "right"', "stop", None, (None, "reply_not_json")),
        (f"Sure! {GOOD}", "stop", None, (None, "reply_not_json")),
        ('{"answer": "a"}', "stop", None, (None, "reply_not_as_asked")),
        ('{"answer": null, "right": true}', "stop", None, (None, "reply_not_as_asked")),
        ('{"answer": "a", "right": "true"}', "stop", None, (None, "reply_not_as_asked")),
        ('{"answer": "a", "right": true, "x": 1}', "stop", None, (None, "reply_not_as_asked")),
        ("[]", "stop", None, (None, "reply_not_as_asked")),
        ("NaN", "stop", None, (None, "reply_not_as_asked")),
        ("[" * 100_000, "stop", None, (None, "reply_not_json")),
        ("9" * 5_000, "stop", None, (None, "reply_not_json")),
        ('"' + "a" * MAX_REPLY_CHARS + '"', "stop", None, (None, "reply_not_json")),
        (None, "error", "context_exceeded: 9 > 8", (None, "context_exceeded")),
        (None, "error", None, (None, "engine_error")),
        (None, "error", ": no name", (None, "engine_error")),
        (GOOD, "error", "late: fault", (None, "late")),
    ],
)
def test_json_replies(
    reply: str | None, finish: str, error: str | None, expected: tuple[str | None, str | None]
) -> None:
    assert read_reply(reply, finish, error, VALIDATOR) == expected


@pytest.mark.parametrize(
    ("reply", "finish", "expected"),
    [
        (" What? \n", "stop", ("What?", None)),
        ("cut of", "length", ("cut of", None)),
        (" \n", "stop", (None, "reply_empty")),
        (None, "stop", (None, "reply_missing")),
    ],
)
def test_free_replies(reply: str | None, finish: str, expected: tuple[str | None, str | None]) -> None:
    assert read_reply(reply, finish, None, None) == expected


def test_half_a_character_can_be_stored() -> None:
    value, reason = read_reply('{"answer": "\\ud83d!", "right": true}', "stop", None, VALIDATOR)
    assert reason is None
    assert value is not None
    assert json.loads(value)["answer"] == "\ufffd!"
    whole, _ = read_reply('{"answer": "\\ud83d\\ude00", "right": true}', "stop", None, VALIDATOR)
    assert whole is not None
    assert json.loads(whole)["answer"] == "\U0001f600"


@given(st.none() | st.text(), st.sampled_from(["stop", "length", "error"]), st.none() | st.text())
def test_there_is_always_a_value_or_a_reason(reply: str | None, finish: str, error: str | None) -> None:
    for validator in (VALIDATOR, None):
        value, reason = read_reply(reply, finish, error, validator)
        assert (value is None) != (reason is None)
        if reason is not None and finish != "error":
            assert reason in PARSE_REASONS


def test_as_a_column(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [
            (0, (GOOD, "stop", None)),
            (1, ("{", "stop", None)),
            (2, (None, "error", "told_to_fail: x")),
            (3, ('{"answer": "\\udc00", "right": false}', "stop", None)),
        ],
        "n int, completion struct<text: string, finish_reason: string, error: string>",
    )
    asked = rows.select("n", reply_column(SCHEMA).alias("r"), reply_column(None).alias("free"))
    found = {row["n"]: row for row in asked.select("n", "r.*", F.col("free.value").alias("free")).collect()}
    assert [found[n]["reason"] for n in range(4)] == [None, "reply_not_json", "told_to_fail", None]
    assert json.loads(found[3]["value"]) == {"answer": "\ufffd", "right": False}
    assert [found[n]["free"] for n in range(3)] == [GOOD, "{", None]
