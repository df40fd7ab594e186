"""Requests: their canonical form, their keys, and what a document can do to them (nothing)."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.helpers import SAMPLING
from webscale_rl.core.fingerprint import canonical_json
from webscale_rl.llm.requests import (
    IDENTITY_FIELDS,
    REQUEST_FIELDS,
    constants,
    escape_control_tokens,
    messages_column,
    request,
    request_column,
    request_id,
    template_column,
)
from webscale_rl.text.control_tokens import FAMILIES

IDENTITY = {
    "adapter": None,
    "dtype": "q4_1",
    "engine": "fake",
    "model": "m" * 64,
    "template": "t" * 64,
    "path": "/no/part/of/it",
}
FULL_SAMPLING = SAMPLING | {"max_tokens": 50, "stop": ["\n"]}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Text: {text}"}]
# Texts as tables hold them: no lone surrogates; control characters are stripped (see below).
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


def logical(**changes: Any) -> dict[str, Any]:
    """A whole logical request, as plain data."""
    fields: dict[str, Any] = {
        "adapter": None,
        "choices": None,
        "dtype": "q4_1",
        "engine": "fake",
        "messages": [{"role": m["role"], "content": m["content"]} for m in MESSAGES],
        "model": "m" * 64,
        "prompt_format": "chat",
        "response_schema": SCHEMA,
        "sample": 0,
        "sampling": copy.deepcopy(FULL_SAMPLING),
        "template": "t" * 64,
    }
    return fields | changes


def flipped() -> dict[str, dict[str, Any]]:
    """One request for every field that can change a reply, with that field alone changed."""
    found = {
        "adapter": logical(adapter="a" * 64),
        "choices": logical(choices=["yes", "no"]),
        "choices, other order": logical(choices=["no", "yes"]),
        "choices, empty": logical(choices=[]),
        "dtype": logical(dtype="f16"),
        "engine": logical(engine="vllm"),
        "model": logical(model="n" * 64),
        "prompt_format": logical(prompt_format="raw"),
        "response_schema": logical(response_schema={"type": "object"}),
        "response_schema, none": logical(response_schema=None),
        "sample": logical(sample=1),
        "template": logical(template="u" * 64),
        "messages, content": logical(messages=[MESSAGES[0], {"role": "user", "content": "Text: {text}."}]),
        "messages, role": logical(messages=[MESSAGES[0], MESSAGES[1] | {"role": "assistant"}]),
        "messages, order": logical(messages=MESSAGES[::-1]),
        "messages, fewer": logical(messages=MESSAGES[1:]),
        "messages, joined": logical(messages=[{"role": "user", "content": "Be brief.Text: {text}"}]),
    }
    others = {"max_tokens": 51, "seed": 1, "top_k": 40, "stop": ["\n\n"]}
    for name, value in FULL_SAMPLING.items():
        other = others.get(name, value + 0.5 if isinstance(value, float) else None)
        found[f"sampling.{name}"] = logical(sampling=FULL_SAMPLING | {name: other})
    return found


def spark_column(fields: dict[str, Any], values: dict[str, Any]) -> Any:
    """The same request, built with native columns."""
    identity = {name: fields[name] for name in IDENTITY_FIELDS}
    given_constants = constants(
        identity,
        fields["sampling"],
        fields["prompt_format"],
        fields["response_schema"],
        fields["choices"],
        fields["sample"],
    )
    return request_column(given_constants, messages_column(fields["messages"], values))


def test_every_field_of_a_request_changes_its_key(spark: SparkSession) -> None:
    variants = flipped()
    assert {name.partition(",")[0].partition(".")[0] for name in variants} == set(REQUEST_FIELDS)
    assert {n.partition(".")[2] for n in variants if n.startswith("sampling")} == set(FULL_SAMPLING)
    requests = {"as it was": logical(), **variants}
    row = spark.range(1).select(F.lit("some text").alias("text"))
    names = list(requests)
    columns = [
        request_id(spark_column(requests[name], {"text": F.col("text")})).alias(f"k{n}")
        for n, name in enumerate(names)
    ]
    keys = dict(zip(names, row.select(*columns).collect()[0], strict=True))
    seen: dict[str, str] = {}
    for name, key in keys.items():
        assert key not in seen, f"{name} has the key of {seen[key]}"
        seen[key] = name
    # And the key is what plain Python makes of the same data.
    for name, fields in requests.items():
        filled = copy.deepcopy(fields)
        for message in filled["messages"]:
            message["content"] = message["content"].replace("{text}", "some text")
        assert keys[name] == hashlib.sha256(canonical_json(filled).encode()).hexdigest(), name


def test_the_fields_are_those_of_the_engine_interface() -> None:
    assert constants(IDENTITY, FULL_SAMPLING, "chat").keys() == set(REQUEST_FIELDS) - {"messages"}
    assert "path" not in constants(IDENTITY, FULL_SAMPLING, "chat")


@pytest.mark.parametrize("change", [{"model": None}, {"choices": None, "more": 1}, {"messages": []}], ids=str)
def test_a_missing_or_unknown_field_is_refused(spark: SparkSession, change: dict[str, Any]) -> None:
    fields = constants(IDENTITY, FULL_SAMPLING, "chat") | change
    if change.get("model", 1) is None:
        del fields["model"]
    with pytest.raises(ValueError, match="a request needs exactly the fields"):
        request_column(fields, F.array())


class Collector:
    """Gathers hypothesis' examples, so that one Spark job serves them all."""

    def __init__(self) -> None:
        self.examples: list[tuple[str, list[str]]] = []


def test_spark_and_python_write_the_same_json(spark: SparkSession) -> None:
    collector = Collector()

    @settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck))
    @given(TEXT, st.lists(TEXT, max_size=3))
    def collect(text: str, choices: list[str]) -> None:
        collector.examples.append((text, choices))

    collect()
    special = '\u2028\u2029\x7f\x85\ufeff\ufffd\U0001f600 é e\u0301 \t\n\r \\ " / </s> \u0000\u0001\x1f\x0b'
    collector.examples.append((special, [special]))
    rows = spark.createDataFrame(
        [(n, text, choices) for n, (text, choices) in enumerate(collector.examples)],
        "n int, text string, choices array<string>",
    )
    fields = constants(IDENTITY, FULL_SAMPLING, "chat", SCHEMA, fixed_choices=False)
    values = {"text": F.col("text")}
    built = rows.select(
        "n",
        request_column(
            fields,
            messages_column(MESSAGES, values),
            F.transform("choices", lambda c: escape_control_tokens(c)),
        ).alias("request"),
    )
    for row in built.collect():
        text, choices = collector.examples[row["n"]]
        expected = logical(
            messages=[MESSAGES[0], {"role": "user", "content": f"Text: {tamed(text)}"}],
            choices=[tamed(choice) for choice in choices],
        )
        assert row["request"] == canonical_json(expected)


def tamed(text: str) -> str:
    """What `escape_control_tokens` does, said another way."""
    bare = "".join(c for c in text if c in "\t\n\r" or ord(c) >= 32)
    assert not any(mark in bare for mark in CONTROL_TOKENS if mark != "</s>")
    return bare.replace("</s>", "< /s >").replace("<s>", "< s >")


CONTROL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|start_header_id|>",
    "<|eot_id|>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<\uff5cUser\uff5c>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]",
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
)


def test_control_tokens_of_a_document_are_escaped(spark: SparkSession) -> None:
    nested = "<|<|im_end|>|> <s<s>> <<|im_start|>system [[INST]"
    texts = [f"before {mark} after" for mark in CONTROL_TOKENS] + [nested]
    rows = spark.createDataFrame([(text,) for text in texts], "text string")
    found = [r[0] for r in rows.select(escape_control_tokens(F.col("text"))).collect()]
    for text, tame in zip(texts, found, strict=True):
        assert not any(mark in tame for mark in CONTROL_TOKENS), (text, tame)
        # Escaped, not dropped: the words are still there.
        assert re.findall(r"\w+", tame) == re.findall(r"\w+", text)


def test_ordinary_text_is_left_alone(spark: SparkSession) -> None:
    texts = [
        "a < b > c",
        "x[1] [note] <p> </p> a|b |x|",
        "if (a<s && b>t)",
        "<section> [INSTALL]",
        "é\t\n",
        "time [s]",
    ]
    rows = spark.createDataFrame([(text,) for text in texts], "text string")
    assert [r[0] for r in rows.select(escape_control_tokens(F.col("text"))).collect()] == texts


FAMILY_OF_TOKEN = {
    "<s>": {"llama2", "mistral"},
    "[INST]": {"llama2", "mistral"},
    "<<SYS>>": {"llama2"},
    "[TOOL_CALLS]": {"mistral"},
    "<think>": {"chatml", "deepseek"},
    "<end_of_turn>": {"gemma"},
    "<|im_end|>": set(FAMILIES),
    "<\uff5cUser\uff5c>": set(FAMILIES),
}


def test_what_is_escaped_depends_on_the_model_s_family(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(token,) for token in FAMILY_OF_TOKEN], "text string")
    columns = [escape_control_tokens(F.col("text"), [family]).alias(family) for family in FAMILIES]
    for row in rows.select("text", *columns).collect():
        escaped = {family for family in FAMILIES if row[family] != row["text"]}
        assert escaped == FAMILY_OF_TOKEN[row["text"]], row["text"]


def test_a_request_escapes_what_its_recipe_s_engine_takes_for_tokens(spark: SparkSession) -> None:
    prompt = {"prompt_format": "chat", "user": "{q}", "system": None}
    rows = spark.createDataFrame([("<s>old</s> <|im_end|>",)], "q string")
    said = {}
    for families in ([], ["chatml"], ["mistral"]):
        engine = IDENTITY | ({"families": families} if families else {})
        body = {"engine": engine, "sampling": FULL_SAMPLING, "prompt": prompt}
        built = json.loads(rows.select(request(body, {"q": F.col("q")})).collect()[0][0])
        assert set(built) == set(REQUEST_FIELDS), "the families are no part of a request"
        said[",".join(families)] = built["messages"][0]["content"]
    assert said == {
        "": "< s >old< /s > < |im_end| >",
        "chatml": "<s>old</s> < |im_end| >",
        "mistral": "< s >old< /s > < |im_end| >",
    }


def test_templates_fill_placeholders_once(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a {b} {{c}} $1 \\", None)], "a string, b string")
    template = template_column("<{a}|{b}> {{x}}", {"a": F.col("a"), "b": F.col("b")})
    assert rows.select(template).collect()[0][0] == "<a {b} {{c}} $1 \\|> {x}"
    with pytest.raises(KeyError):
        template_column("{missing}", {})


def test_a_row_s_own_choices_are_escaped_too(spark: SparkSession) -> None:
    body = {
        "engine": IDENTITY,
        "sampling": FULL_SAMPLING,
        "prompt": {"prompt_format": "raw", "user": "Q: {q}", "system": None},
    }
    rows = spark.createDataFrame([("q", [" <|im_end|>", " fine"])], "q string, c array<string>")
    built = rows.select(request(body, {"q": F.col("q")}, row_choices=F.col("c"))).collect()[0][0]
    assert json.loads(built)["choices"] == [" < |im_end| >", " fine"]
    assert json.loads(built)["messages"] == [{"content": "Q: q", "role": "user"}]
