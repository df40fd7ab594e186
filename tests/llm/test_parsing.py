"""Replies: the value, or the reason why there is none."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from webscale_rl.llm.latex import COMMANDS
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
        ("", "stop", None, (None, "reply_empty")),
        (" \n", "stop", None, (None, "reply_empty")),
        ('{"answer": "a", "right": true,}', "stop", None, (None, "reply_trailing_comma")),
        ('{"answer": "a, }", "right": true, \n }', "stop", None, (None, "reply_trailing_comma")),
        ('{"answer": "a, }", "right": tru}', "stop", None, (None, "reply_not_json")),
        ('{"answer": "a\nb", "right": true}', "stop", None, (None, "reply_raw_newline")),
        ('{"answer": "a\x01b", "right": true}', "stop", None, (None, "reply_control_character")),
        ('{"answer": "a", "right": false, "right": true}', "stop", None, (None, "reply_duplicate_key")),
        ('{"answer": [{"b": 1, "b": 1}], "right": true}', "stop", None, (None, "reply_duplicate_key")),
        (r'{"answer": "it\'s", "right": true}', "stop", None, (None, "reply_bad_escape")),
        (r'{"answer": "\x41", "right": true}', "stop", None, (None, "reply_bad_escape")),
        (r'{"answer": "\u12", "right": true}', "stop", None, (None, "reply_bad_escape")),
        # An escape that is JSON's own and makes no command of LaTeX.
        (r'{"answer": "bad \food", "right": true}', "stop", None, (None, "reply_control_character")),
        (r'{"answer": "bad \bread", "right": true}', "stop", None, (None, "reply_control_character")),
        (r'{"answer": "a\rb", "right": true}', "stop", None, (None, "reply_control_character")),
        (r'{"answer": "\u0007", "right": true}', "stop", None, (None, "reply_control_character")),
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
        ("What\x0c?", "stop", (None, "reply_control_character")),
        (r"What is \frac{1}{2}?", "stop", (r"What is \frac{1}{2}?", None)),
        ("<think>Hm.</think>\nWhat?", "stop", ("What?", None)),
        ("<think>Hm.</think>\n", "stop", (None, "reply_empty")),
        ("<think>Hm. What?", "length", (None, "reply_cut_off")),
        (None, "stop", (None, "reply_missing")),
    ],
)
def test_free_replies(reply: str | None, finish: str, expected: tuple[str | None, str | None]) -> None:
    assert read_reply(reply, finish, None, None) == expected


def answer_of(reply: str) -> str:
    """The answer that is read from a reply, which must be a good one."""
    value, reason = read_reply(reply, "stop", None, VALIDATOR)
    assert reason is None, (reply, reason)
    assert value is not None
    return str(json.loads(value)["answer"])


@pytest.mark.parametrize(
    "answer",
    [
        r"E = \frac{m v^2}{2}",
        r"3 \times 4",
        r"\beta",
        r"E = h\nu",
        r"\rho V",
        r"\left( x \right)",
        r"\text{kg}",
        r"a \ne b \neq c",
        r"\alpha + \sum_{i=1}^{n} x_i",
        r"\(x\) costs 5\% of \{a, b\}\,",
        r"\upsilon and \underline{u}",
        r"\forall x \nexists y",
        r"C = \binom{n}{k}",
        r"\d+ and \w*",
    ],
)
def test_backslashes_of_latex_that_were_not_doubled_are_restored(answer: str) -> None:
    assert answer_of(f'{{"answer": "{answer}", "right": true}}') == answer
    # Doubled, as JSON wants it, they are read as before.
    assert answer_of(json.dumps({"answer": answer, "right": True})) == answer


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"first\nnext", "first\nnext"),
        (r"a\nunder", "a\nunder"),
        (r"no such thing\nexists", "no such thing\nexists"),
        (r"name\tage", "name\tage"),
        (r"a\r\nb", "a\r\nb"),
        (r"\u00e9t\u00e9\/\"", 'été/"'),
        (r"\\nu", r"\nu"),
        (r"a\\\nb", "a\\\nb"),
    ],
)
def test_json_s_own_escapes_stay(written: str, read: str) -> None:
    assert answer_of(f'{{"answer": "{written}", "right": true}}') == read


# No line feed or tab that would make a command of LaTeX, were it one with a single backslash.
_PLAIN = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from('\n\t\\"/{},:'), max_size=80
)


_BEHIND = re.compile("[\n\t][A-Za-z]+")


def makes_command(found: str) -> bool:
    return {"\n": "n", "\t": "t"}[found[0]] + found[1:] in COMMANDS


@given(_PLAIN.filter(lambda text: not any(makes_command(found) for found in _BEHIND.findall(text))))
def test_what_json_writes_comes_back_exactly(text: str) -> None:
    for ascii_only in (True, False):
        reply = json.dumps({"answer": text, "right": True}, ensure_ascii=ascii_only)
        assert answer_of(reply) == text
        assert answer_of(f"<think>{{so}}</think>\n```json\n{reply}\n```") == text


@given(st.text(st.sampled_from('\\\\"nutbfr{}x ,\n'), max_size=30))
def test_no_escape_makes_a_control_character(text: str) -> None:
    value, reason = read_reply(f'{{"answer": "{text}", "right": true}}', "stop", None, VALIDATOR)
    if reason is None:
        assert value is not None
        assert not set(json.loads(value)["answer"]) & {"\x08", "\x0c", "\r"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (f"<think>\nLet me see.\n</think>\n\n{GOOD}", None),
        (f'<think>{{"answer": "b"}}</think>{GOOD}', None),
        (f"<think></think>\n<think>More.</think>{GOOD}", None),
        (f"Let me see.</think>\n{GOOD}", None),
        (f"<thinking>Hm.</thinking>{GOOD}", None),
        (f"```json\n{GOOD}\n```", None),
        (f"```\n{GOOD}```", None),
        (f"<think>Hm.</think>```json\n{GOOD}\n```", None),
        (f"<think>{GOOD}", "reply_cut_off"),
        ("<think>Let me see.</think>", "reply_empty"),
        (f"```json\n{GOOD}\n```\nThat is it.", "reply_not_json"),
        (f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```", "reply_not_json"),
    ],
)
def test_thoughts_and_fences_around_a_reply(reply: str, expected: str | None) -> None:
    value, reason = read_reply(reply, "stop", None, VALIDATOR)
    assert reason == expected
    assert value == ('{"answer": "é", "right": true}' if expected is None else None)
    if reply.startswith("<think>") and expected is None:
        assert read_reply(reply, "length", None, VALIDATOR) == (None, "reply_cut_off")


def test_a_tag_in_an_answer_ends_no_thought() -> None:
    assert answer_of('{"answer": "<think>a</think>", "right": true}') == "<think>a</think>"


@pytest.mark.parametrize(
    "part", ['\\"', "<think></think>", '"', r'"\frac', ", ", "```", "\\", "<think>", "\n", "{"], ids=repr
)
def test_a_long_reply_of_any_kind_is_read_in_no_time(part: str) -> None:
    long = part * (MAX_REPLY_CHARS // len(part))
    for reply in (long, '{"' + long[:-2]):
        started = time.perf_counter()
        read_reply(reply, "stop", None, VALIDATOR)
        assert time.perf_counter() - started < 20


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
