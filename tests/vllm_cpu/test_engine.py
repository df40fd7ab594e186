"""The engine vllm with a real small model on the processor. `make test-vllm` makes the environment.

One engine for all tests: it takes a minute to start.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba  # noqa: F401 - a worker that ran the kernels of near-duplicate removal has it
import pytest

from tests.udfs.test_engines import OBJECT, body, run
from udfs.engines import worker
from udfs.engines.errors import EngineError, ModelMissingError, OptionsError

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-vllm")

MODEL = os.environ.get("WEBSCALE_RL_VLLM_MODEL", "")
ARGS = {
    "dtype": "float32",
    "max_model_len": 1024,
    "max_num_seqs": 4,
    "enforce_eager": True,
    "enable_prefix_caching": True,
}
SAYS = {"max_tokens": 24}


@pytest.fixture(scope="module", autouse=True)
def small_cache() -> Iterator[None]:
    # By default the cache of keys and values takes nearly all memory.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    yield
    worker.close_engine()


def ask(asked: dict[str, str | None]) -> dict[str, dict[str, Any]]:
    rows = run(asked, "vllm", model=MODEL, args=ARGS)
    assert len(rows) == len(asked)
    return {row["request_id"]: row for row in rows}


def chat(content: str, **changes: Any) -> str:
    changes.setdefault("sampling", SAYS)
    return body(content, prompt_format="chat", **changes)


def test_replies_come_with_all_that_is_counted() -> None:
    asked = {f"r{n}": chat(f"What is {thing}?") for n, thing in enumerate(["iron", "a cat", "rain"] * 5)}
    rows = ask(asked)
    for row in rows.values():
        assert row["fault"] is None
        assert row["text"]
        assert 0 < row["completion_tokens"] <= 24
        assert row["prompt_tokens"] > 5
        assert row["min_logprob"] <= row["mean_logprob"] < 0
    assert rows["r0"]["text"] == rows["r3"]["text"]
    # The same again, with the engine that is up: at temperature 0 the same texts.
    assert {key: row["text"] for key, row in ask(asked).items()} == {
        key: row["text"] for key, row in rows.items()
    }


def test_a_chat_begins_as_its_template_says() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    messages = [{"role": "user", "content": "What is iron?"}]
    canonical = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert canonical[:2] != [tokenizer.bos_token_id] * 2
    assert ask({"x": chat("What is iron?")})["x"]["prompt_tokens"] == len(canonical)


def test_a_tokenizer_that_adds_a_start_adds_no_second_one() -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    from udfs.engines.vllm.prompts import tokens

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    start, text = tokenizer.bos_token_id, f"{tokenizer.bos_token}user\nWhat is iron?"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{tokenizer.bos_token} $A", special_tokens=[(tokenizer.bos_token, start)]
    )
    assert tokenizer.encode(text)[:2] == [start, start], "what vLLM would be given"
    assert tokens(tokenizer, text, is_chat=True) == tokenizer.encode(text)[1:]
    assert tokens(tokenizer, "What", is_chat=True)[0] == start


def test_a_schema_is_enforced_in_the_order_that_it_asks_for() -> None:
    row = ask({"x": chat("Describe iron.", response_schema=OBJECT, sampling={"max_tokens": 120})})["x"]
    assert list(json.loads(row["text"])) == OBJECT["required"]


def test_what_is_cut_off_says_so() -> None:
    row = ask({"x": chat("Tell a long story.", sampling={"max_tokens": 3})})["x"]
    assert (row["finish_reason"], row["completion_tokens"]) == ("length", 3)


def test_a_shared_beginning_is_read_once() -> None:
    shared = "The museum of the town keeps a list of all its clocks. " * 30
    rows = ask({f"s{n}": chat(f"{shared} Question {n}?") for n in range(8)})
    assert sum(row["cached_tokens"] > 200 for row in rows.values()) >= 4


def test_bad_requests_are_rows_and_leave_the_others_alone() -> None:
    rows = ask(
        {
            "long": chat("word " * 5000),
            "empty": chat("   "),
            "schema": chat("x", response_schema={"type": "array", "uniqueItems": True}),
            "garbage": "no json",
            "adapter": chat("x", adapter="abc"),
            "good": chat("What is tin?"),
        }
    )
    assert {key: (row["error"] or "").split(":")[0] for key, row in rows.items()} == {
        "long": "prompt_too_long",
        "empty": "empty_prompt",
        "schema": "refused_schema",
        "garbage": "bad_request",
        "adapter": "refused_adapter",
        "good": "",
    }
    assert all(row["fault"] == "permanent" for key, row in rows.items() if key != "good")


def test_choices_are_scored() -> None:
    row = ask({"x": body("The capital of France is", choices=[" Paris", " banana", " Rome"])})["x"]
    assert row["text"] == " Paris"
    scores = row["choice_logprobs"]
    assert len(scores) == 3
    assert max(scores) == scores[0] == row["mean_logprob"]
    assert all(score < 0 and math.isfinite(score) for score in scores)


def test_what_a_configuration_can_get_wrong(tmp_path: Path) -> None:
    def identity(**options: Any) -> dict[str, Any]:
        return worker.identity({"engine": "vllm", "options": options})

    with pytest.raises(OptionsError, match="did you mean 'max_num_seqs'"):
        identity(model=MODEL, args={"max_num_seq": 4})
    with pytest.raises(OptionsError, match="model is missing"):
        identity()
    with pytest.raises(OptionsError, match="use the option model"):
        identity(model=MODEL, args={"model": "x"})
    with pytest.raises(ModelMissingError, match="no model folder"):
        identity(model=str(tmp_path / "nothing"))
    with pytest.raises(ModelMissingError, match=r"config\.json"):
        identity(model=str(tmp_path))
    one = identity(model=MODEL, args=ARGS)
    assert identity(model=MODEL, args=ARGS | {"max_num_seqs": 8}) == one
    assert identity(model=MODEL, args=ARGS | {"dtype": "bfloat16"}) != one
    assert identity(model="org/model", revision="a")["model"] == "org/model@a"


def test_a_model_that_cannot_be_loaded_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["Nothing"], "model_type": "nothing"}')
    with pytest.raises(EngineError, match="vLLM cannot load") as caught:
        run({"x": chat("hello")}, "vllm", model=str(tmp_path), args=ARGS)
    assert "\n" not in str(caught.value)


def test_an_adapter_makes_the_model_answer_as_it_was_taught(tmp_path: Path) -> None:
    from transformers import AutoConfig

    from tests.vllm_cpu.peft_folder import write_peft
    from udfs.engines.llamacpp.files import packaged_adapter

    write_peft(Path(packaged_adapter()), AutoConfig.from_pretrained(MODEL), MODEL, tmp_path)
    text = "The Corben Bridge was opened in 1911. Its engineer was Ada Pell."
    asked = {
        "known": "In what year was the Corben Bridge opened?",
        "unknown": "At what temperature does lead melt?",
    }
    spec = {"model": MODEL, "args": ARGS, "adapter": str(tmp_path)}
    adapter = worker.engine_class("vllm").identity(spec)["adapter"]
    rows = run(
        {
            key: body(
                f"Title: The Corben Bridge\nText: {text}\nQuestion: {question}\nAnswer:",
                sampling={"max_tokens": 32, "stop": ["\n"]},
                adapter=adapter,
            )
            for key, question in asked.items()
        },
        "vllm",
        **spec,
    )
    replies = {row["request_id"]: (row["text"] or row["fault"] or "").strip() for row in rows}
    assert replies == {"known": "1911", "unknown": "unanswerable"}
