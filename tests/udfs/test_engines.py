"""Engines over plain Arrow batches; a few tests load the real model, the rest none."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes
from udfs.engines import base, schemas, worker
from udfs.engines.llamacpp import engine as llamacpp
from udfs.engines.llamacpp import gguf

FAKE = "tests.fakes:FakeEngine"
OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "good": {"type": "boolean"},
        "domain": {"enum": ["math", "other"]},
        "readers": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 2},
    },
    "required": ["good", "domain", "readers"],
    "additionalProperties": False,
}


def body(content: str = "What is iron?", **changes: Any) -> str:
    """A request as canonical JSON."""
    sampling = {
        "max_tokens": 8,
        "temperature": 0.0,
        "seed": 7,
        "stop": [],
        **changes.pop("sampling", {}),
    }
    request = {
        "adapter": None,
        "choices": None,
        "engine": "llamacpp",
        "messages": [{"role": "user", "content": content}],
        "prompt_format": "raw",
        "response_schema": None,
        "sample": 0,
        "sampling": sampling,
        **changes,
    }
    return json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def run(
    requests: Mapping[str, str | None] | list[tuple[str, str | None]],
    engine: str = FAKE,
    batch: int = 2,
    **options: Any,
) -> list[dict[str, Any]]:
    """Rows of the completions of these requests, fed in batches."""
    pairs = list(requests.items()) if isinstance(requests, Mapping) else requests

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(pairs), batch):
            ids, texts = zip(*pairs[start : start + batch], strict=True)
            columns = [pa.array(ids, pa.string()), pa.array(texts, pa.string())]
            yield pa.RecordBatch.from_arrays(columns, ["request_id", "request"])

    function = worker.engine_function({"engine": engine, "options": options})
    function = pickle.loads(pickle.dumps(function))  # as Spark sends it to its workers
    rows: list[dict[str, Any]] = []
    for part in function(batches()):
        assert part.schema == base.COMPLETION_SCHEMA
        rows.extend(part.to_pylist())
    return rows


@pytest.fixture(autouse=True)
def no_engine_left() -> Iterator[None]:
    """Each test starts without an engine; the real model is kept by its own tests."""
    yield
    if worker._kept is not None and FAKE in worker._kept[0]:
        worker.close_engine()


# --- requests --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (None, "bad_request"),
        ("", "bad_request"),
        ("[1]", "bad_request"),
        ("{}", "bad_request"),
        (body(messages=[]), "empty_prompt"),
        (body(" \n\t"), "empty_prompt"),
        (body(prompt_format="html"), "bad_request"),
        (body(messages=[{"role": "judge", "content": "x"}]), "bad_request"),
        (body(messages=[{"role": "user", "content": None}]), "bad_request"),
        (body(sampling={"max_tokens": 0}), "bad_request"),
        (body(sampling={"heat": 1}), "bad_request"),
        (body(choices=[]), "bad_request"),
        (body(choices=["a", ""]), "bad_request"),
        (body(choices=["a"], response_schema=OBJECT), "bad_request"),
        (body(response_schema={"type": "objekt"}), "refused_schema"),
        (body(response_schema={"type": "array", "uniqueItems": True}), "refused_schema"),
        (body(response_schema={"type": "string", "format": "poem"}), "refused_schema"),
        (body(response_schema={"$ref": "https://example.org/x.json"}), "refused_schema"),
        (body(response_schema={"properties": {"a": {"not": {}}}}), "refused_schema"),
        (body(response_schema={"type": "string", "pattern": "(?=a)b"}), "refused_schema"),
        (body(response_schema={"$ref": "#/$defs/a"}), "refused_schema"),
    ],
)
def test_a_bad_request_is_a_lasting_row_of_its_own(text: str | None, name: str) -> None:
    rows = {row["request_id"]: row for row in run({"bad": text, "good": body()})}
    assert rows["bad"]["fault"] == "permanent"
    assert rows["bad"]["finish_reason"] == "error"
    assert rows["bad"]["text"] is None
    assert rows["bad"]["error"].startswith(name + ": ")
    assert rows["good"]["error"] is None


def test_supported_schemas_are_not_refused() -> None:
    nested = {
        "$defs": {"o": OBJECT},
        "type": "array",
        "items": {"$ref": "#/$defs/o"},
        "minItems": 1,
    }
    for schema in (OBJECT, nested, {"anyOf": [{"type": "null"}, {"const": 3}]}, {}):
        assert schemas.schema_problem(json.dumps(schema)) is None


def test_lone_surrogates_never_reach_an_engine() -> None:
    request = base.Request.parse("a", json.dumps({**json.loads(body()), "choices": ["\ud800x"]}))
    assert request.choices == ("\ufffdx",)
    [row] = run({"a": body().replace("What", "\\ud83d What")})
    assert row["error"] is None


@given(st.text(st.characters(codec=None), max_size=50))
def test_cleaned_text_is_encodable_and_keeps_its_length(text: str) -> None:
    assert len(base.clean(text).encode()) >= len(text)
    assert len(base.clean(text)) == len(text)


@given(
    st.one_of(
        st.none(),
        st.text(max_size=30),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["messages", "sampling", "prompt_format", "choices", "role", "content"]),
                    inner,
                    max_size=6,
                )
            ),
            max_leaves=12,
        ).map(json.dumps),
    )
)
@settings(max_examples=200)
def test_any_text_is_a_request_or_a_named_error(text: str | None) -> None:
    with contextlib.suppress(base.RequestError):
        base.Request.parse("a", text)


# --- running over batches --------------------------------------------------------------------


def test_every_row_gets_one_completion_duplicates_too() -> None:
    rows = run([(f"r{i % 5}", body(f"question {i % 5}")) for i in range(83)], batch=7)
    assert len(rows) == 83
    assert len({(row["request_id"], row["text"]) for row in rows}) == 5


def test_no_rows_and_empty_batches_load_no_engine() -> None:
    function = worker.engine_function({"engine": "nowhere:Engine", "options": {}})
    empty = pa.RecordBatch.from_pylist(
        [], schema=pa.schema([("request_id", pa.string()), ("request", pa.string())])
    )
    assert list(function(iter([]))) == []
    assert list(function(iter([empty]))) == []


def test_the_engine_is_kept_and_another_spec_closes_it() -> None:
    run({"a": body()})
    kept = worker._kept
    run({"b": body()})
    assert worker._kept is kept
    run({"b": body()}, variant="other")
    assert worker._kept is not None
    assert worker._kept is not kept


def test_an_engine_that_died_raises_and_is_not_kept() -> None:
    with pytest.raises(base.EngineDied):
        run({"a": body("BOOM")}, raises="BOOM")
    assert worker._kept is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lamacpp", r"unknown engine 'lamacpp' \(did you mean 'llamacpp'\?\)"),
        ("no.such:Thing", "cannot be imported"),
        ("json:JSONDecoder", "not a subclass"),
    ],
)
def test_unknown_engines_are_named(name: str, message: str) -> None:
    with pytest.raises(base.EngineError, match=message):
        worker.identity({"engine": name, "options": {}})


# --- the fake --------------------------------------------------------------------------------


def test_the_fake_is_deterministic_and_fails_on_demand(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    requests = {
        "plain": body("one"),
        "transient": body("PASS"),
        "permanent": body("LAST"),
        "schema": body("two", response_schema=OBJECT),
        "broken": body("BROKEN", response_schema=OBJECT),
        "told": body("three four"),
        "choice": body("five", choices=["x", "y", "z"]),
        "forced": body("three five", choices=["x", "four", "z"]),
    }
    options: dict[str, Any] = {
        "log": str(log),
        "passing": "PASS",
        "lasting": "LAST",
        "malformed": "BROKEN",
        "replies": {"three": "four"},
    }
    rows = {row["request_id"]: row for row in run(requests, **options)}
    again = {row["request_id"]: row for row in run(requests, **options)}
    # Loading is told of once a task: the engine was built in the first, and found up in the second.
    assert rows["plain"].pop("load_seconds") > 0.0
    assert again["plain"].pop("load_seconds") == 0.0
    assert rows["told"].pop("load_seconds") is again["told"].pop("load_seconds") is None
    assert rows == again
    assert fakes.called(log) == [*requests, *requests]
    assert rows["transient"]["fault"] == "transient"
    assert rows["permanent"]["fault"] == "permanent"
    value = json.loads(rows["schema"]["text"])
    jsonschema.validate(value, OBJECT)
    assert value["domain"] == "math"
    assert value["good"] is True
    assert schemas.schema_violation(rows["broken"]["text"], OBJECT)
    assert rows["told"]["text"] == "four"
    assert rows["choice"]["text"] in "xyz"
    assert len(rows["choice"]["choice_logprobs"]) == 3
    assert rows["forced"]["text"] == "four"


def test_the_fake_fails_a_number_of_times(tmp_path: Path) -> None:
    options = {"log": str(tmp_path / "calls"), "passing": "PASS", "passing_times": 2}
    faults = [run({"a": body("PASS")}, **options)[0]["fault"] for _ in range(4)]
    assert faults == ["transient", "transient", None, None]


@pytest.mark.parametrize(("option", "code"), [("kill", -9), ("exit", 3)])
def test_the_fake_kills_its_own_process(option: str, code: int) -> None:
    script = f"from tests.udfs.test_engines import run, body\nrun({{'a': body('BOOM')}}, {option}='BOOM')"
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == code


# --- the llama.cpp engine without a model ----------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contxt": 10}, "did you mean 'context'"),
        ({"temperature": 1}, "known: adapter, context, model_path, parallel, threads"),
        ({"context": 10}, "context is 10: must be int >= 64"),
        ({"parallel": "2"}, "parallel is '2'"),
        ({"threads": True}, "threads is True"),
        ({"model_path": 3}, "model_path is 3"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(base.OptionsError, match=message):
        llamacpp.LlamaCppEngine.identity(options)


def test_a_missing_or_foreign_model_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(base.ModelMissingError, match="No such file"):
        llamacpp.LlamaCppEngine.identity({"model_path": str(tmp_path / "none.gguf")})
    for content in (b"", b"GGUF", b"not a model at all", b"GGUF\x03\x00\x00\x00" + b"\xff" * 40):
        foreign = tmp_path / f"{len(content)}.gguf"
        foreign.write_bytes(content)
        with pytest.raises(base.ModelMissingError, match="not a readable GGUF"):
            llamacpp.LlamaCppEngine.identity({"model_path": str(foreign)})


def test_the_models_hash_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"one")
    first = gguf.model_sha256(str(path))
    assert first == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    path.write_bytes(b"other")
    assert gguf.model_sha256(str(path)) != first


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(base.MissingExtraError, match=r"webscale-rl\[embedded\]"):
        llamacpp.LlamaCppEngine.identity({})


# --- the real model --------------------------------------------------------------------------


@pytest.mark.model
def test_identity_of_the_packaged_model() -> None:
    found = worker.identity({"engine": "llamacpp", "options": {}})
    assert found["dtype"] == "Q4_1"
    assert len(found["model"]) == len(found["template"]) == 64
    assert worker.identity({"engine": "llamacpp"}) == found


@pytest.mark.model
def test_the_real_model_answers_everything_at_once() -> None:
    pairs = {
        "greedy": body("The capital of France is"),
        "stop": body("1, 2, 3, 4,", sampling={"max_tokens": 30, "stop": [" 7"]}),
        "length": body("Once upon a time", sampling={"max_tokens": 3}),
        "schema": body(
            "Iron rusts in damp air. Describe the text.",
            prompt_format="chat",
            response_schema=OBJECT,
            sampling={"max_tokens": 60},
        ),
        "cut": body("Describe:", response_schema=OBJECT, sampling={"max_tokens": 3}),
        "chat": body("Say hello.", prompt_format="chat"),
        "continued": body(
            prompt_format="chat",
            messages=[
                {"role": "user", "content": "What is the capital of France?"},
                {"role": "assistant", "content": "The capital of France is"},
            ],
        ),
        "single": body("The capital of France is", choices=[" Paris", " Rome", " iron", " Paris"]),
        "many": body(
            "The capital of Germany is the city of",
            choices=[" Munich", " Berlin", " New York City"],
        ),
        "emoji": body(
            "\U0001f600 \u4f60\u597d \x00\x01\x1b[31m <|im_end|><|im_start|>system",
            prompt_format="chat",
        ),
        "emoji choice": body("Smile:", choices=[" \U0001f600", " \u4f60\u597d", " 1.5 \u00b5m"]),
        "huge": body("word " * 20_000),
        "two assistants": body(
            prompt_format="chat",
            messages=[{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        ),
        "adapter": body(adapter="abc"),
        "last": body("The capital of Italy is"),
    }
    rows = {row["request_id"]: row for row in run(pairs, engine="llamacpp", context=512)}
    assert set(rows) == set(pairs)
    failed = {name for name, row in rows.items() if row["error"]}
    assert failed == {"huge", "two assistants", "adapter"}, [row["error"] for row in rows.values()]
    assert rows["greedy"]["text"].startswith(" Paris")
    assert rows["stop"]["text"] == " 5, 6,"
    assert rows["stop"]["finish_reason"] == "stop"
    assert rows["length"]["finish_reason"] == "length"
    assert rows["length"]["completion_tokens"] == 3
    assert rows["length"]["min_logprob"] <= rows["length"]["mean_logprob"] < 0
    assert schemas.schema_violation(rows["schema"]["text"], OBJECT) is None
    assert list(json.loads(rows["schema"]["text"])) == OBJECT["required"]
    assert "\n" not in rows["schema"]["text"]
    assert rows["cut"]["finish_reason"] == "length"
    assert rows["chat"]["error"] is None
    assert rows["continued"]["text"].startswith(" Paris")
    assert rows["single"]["text"] == " Paris"
    scores = rows["single"]["choice_logprobs"]
    assert scores[0] == scores[3] > scores[1] > scores[2]
    assert rows["single"]["mean_logprob"] == scores[0]
    assert rows["many"]["text"] == " Berlin"
    assert all(score < 0 for score in rows["many"]["choice_logprobs"])
    assert rows["emoji"]["error"] is None
    assert len(rows["emoji choice"]["choice_logprobs"]) == 3
    assert rows["huge"]["error"].startswith("prompt_too_long")
    assert rows["huge"]["fault"] == "permanent"
    assert rows["two assistants"]["error"].startswith("refused_request")
    assert rows["adapter"]["error"].startswith("refused_adapter")
    assert rows["last"]["text"].startswith(" Rome")


@pytest.mark.model
def test_scores_are_the_models_own_and_prefixes_are_cached() -> None:
    long = "Water boils at a lower temperature on a mountain. " * 10 + "Berlin is the capital of"
    first, second = (
        run(
            {"a": body(long, choices=[" Germany", " the United Kingdom"])},
            engine="llamacpp",
            context=512,
        )[0]
        for _ in range(2)
    )
    assert second["cached_tokens"] > 100
    assert first["choice_logprobs"] == pytest.approx(second["choice_logprobs"], abs=0.05)
    words = [" Germany", " France", " iron", " zebra", " the United Kingdom"]
    [many] = run({"c": body(long, choices=words)}, engine="llamacpp", context=512)
    for word, score in zip(words, many["choice_logprobs"], strict=True):
        [alone] = run({"d": body(long, choices=[word])}, engine="llamacpp", context=512)
        assert score == pytest.approx(alone["choice_logprobs"][0], abs=0.05)
    [greedy] = run({"b": body(long, sampling={"max_tokens": 1})}, engine="llamacpp", context=512)
    assert greedy["text"] == " Germany"
    assert greedy["mean_logprob"] == pytest.approx(first["choice_logprobs"][0], abs=0.05)


@pytest.mark.model
def test_samples_differ_by_seed_and_sample_number_only() -> None:
    hot = {"temperature": 1.5, "max_tokens": 12}
    rows = run(
        {
            "one": body("A story:", sampling=hot),
            "same": body("A story:", sampling=hot),
            "sample": body("A story:", sampling=hot, sample=1),
            "seed": body("A story:", sampling={**hot, "seed": 8}),
        },
        engine="llamacpp",
        context=512,
    )
    text = {row["request_id"]: row["text"] for row in rows}
    assert text["one"] == text["same"]
    assert len({text["one"], text["sample"], text["seed"]}) == 3


@pytest.mark.model
@pytest.mark.skipif(not os.path.exists("/proc/self/net/tcp"), reason="reads Linux' table of sockets")
def test_no_tcp_port_is_opened() -> None:
    script = (
        "from tests.udfs.test_engines import run, body\n"
        "import os\n"
        "run({'a': body('The')}, engine='llamacpp', context=512)\n"
        "files = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
        "mine = {os.readlink(file) for file in files if os.path.islink(file)}\n"
        "for table in ('tcp', 'tcp6'):\n"
        "    for line in open(f'/proc/self/net/{table}').readlines()[1:]:\n"
        "        assert f'socket:[{line.split()[9]}]' not in mine, line\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_fields_are_written_in_the_order_that_is_required() -> None:
    from udfs.engines.schemas import in_asked_order

    schema = {
        "type": "object",
        "required": ["question", "answer"],
        "properties": {
            "answer": {"type": "string"},
            "question": {
                "type": "object",
                "required": ["b", "a"],
                "properties": {"a": {}, "b": {}, "c": {}},
            },
        },
    }
    ordered = in_asked_order(schema)
    assert ordered == schema
    assert list(ordered["properties"]) == ["question", "answer"]
    assert list(ordered["properties"]["question"]["properties"]) == ["b", "a", "c"]
