"""Control tokens: which model takes what for one, and what a model copied from where they were escaped."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import configuration
from webscale_rl.config.load import load
from webscale_rl.llm.engines import Engine, Engines
from webscale_rl.llm.parts import Parts
from webscale_rl.text.control_tokens import families_of, pattern, restore


@pytest.mark.parametrize(
    ("model", "families"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", ("chatml",)),
        ("Smollm2 135M 8k Lc100K", ("chatml",)),
        ("SmolLM2-135M-Instruct", ("chatml",)),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", ("chatml", "deepseek")),
        ("meta-llama/Llama-2-7b-chat-hf", ("llama2",)),
        ("meta-llama/Meta-Llama-3.1-8B", ("llama3",)),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", ("mistral",)),
        ("mistralai/Ministral-8B", ("mistral",)),
        ("google/gemma-2-9b-it", ("gemma",)),
        ("microsoft/phi-4", ("phi",)),
        ("/models/our-own", ()),
        ("", ()),
    ],
)
def test_a_model_s_name_tells_its_families(model: str, families: tuple[str, ...]) -> None:
    assert families_of(model) == families


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"engine": "vllm", "name": "Qwen/Qwen3-8B"}, ["chatml"]),
        ({"engine": "vllm", "name": "ours"}, None),
        ({"engine": "openai", "name": "qwen3-8b"}, None),
    ],
)
def test_an_endpoint_s_name_for_a_model_tells_nothing(
    identity: dict[str, Any], expected: list[str] | None
) -> None:
    config = load(values=configuration("log"))
    settings = config.engines["fake"]

    class Known(Engines):
        def get(self, name: str) -> Engine:
            return Engine(name, settings, identity)

    parts = Parts(config.sections, Known(config.engines), [], {})
    _, found = parts.asked(config.sections["generate"])  # type: ignore[arg-type]
    assert found.get("families") == expected
    assert found["engine"] == identity["engine"]


def escaped(text: str, families: tuple[str, ...] = ()) -> str:
    return re.sub(pattern(families), r"< \1\2 >", text)


TOKENS = ("<s>", "</s>", "[INST]", "<|im_end|>", "<\uff5cUser\uff5c>", "<<SYS>>", "<think>", "[/TOOL_CALLS]")


@given(st.lists(st.sampled_from((*TOKENS, "a word", "x < y > z", "[1]", "<p>", "\n")), max_size=12))
def test_what_is_copied_in_escaped_form_comes_back_as_the_passage_has_it(parts: list[str]) -> None:
    passage = " ".join(parts)
    assert restore(escaped(passage), passage) == passage
    assert restore(passage, passage) == passage


def test_only_the_passage_s_own_tokens_are_restored() -> None:
    assert restore("the tag < s > strikes", "No tag here.") == "the tag < s > strikes"
    assert restore("the tag < s > strikes", "Both <s> and < s > here.") == "the tag < s > strikes"
    # As an engine breaks the tokens of its own model.
    assert restore("the name < repo_name>", "It has <repo_name> in it.") == "the name <repo_name>"
