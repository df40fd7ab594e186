"""Options of engines: one model each, and one line for whatever is wrong with them."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from udfs.engines.base import EngineOptions, OptionsError, refuse_unknown
from udfs.engines.llamacpp.options import Options as LlamaCpp
from udfs.engines.openai.options import KEY_ENV
from udfs.engines.openai.options import Options as OpenAI
from udfs.engines.vllm.options import Options as Vllm
from webscale_rl.core.files import conf_folder, read_yaml


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (LlamaCpp, {"context": 64.0}, "engine option context is 64.0: must be int >= 64 and <= 1000000"),
        (LlamaCpp, {"threads": True}, "engine option threads is True: must be int >= 1 and <= 1024"),
        (LlamaCpp, {"model_path": 3}, "engine option model_path is 3: must be text"),
        (
            LlamaCpp,
            {"parallel": 0, "threds": 1},
            "unknown engine option 'threds' (did you mean 'threads'?); "
            "engine option parallel is 0: must be int >= 1 and <= 256",
        ),
        (LlamaCpp, {"adaptor": None}, "unknown engine option 'adaptor' (did you mean 'adapter'?)"),
        (OpenAI, {"model": ""}, "engine option model is missing: the model's name at the endpoint"),
        (
            OpenAI,
            {"model": "m", "timeout": "2"},
            "engine option timeout is '2': must be a number >= 0.01 and <= 86400",
        ),
        (OpenAI, {"model": "m", "logprobs": "no"}, "engine option logprobs is 'no': must be true or false"),
        (OpenAI, {"model": "m", "extra_body": []}, "engine option extra_body is []: must be a mapping"),
        (
            OpenAI,
            {"model": "m", "omit": "seed"},
            "engine option omit is 'seed': must be a list of seed, temperature, top_p, stop",
        ),
        (
            OpenAI,
            {"model": "m", "omit": ["seed", "top_k"]},
            "engine option omit names 'top_k': must be of seed, temperature, top_p, stop",
        ),
        (
            OpenAI,
            {"model": "m", "max_tokens_field": "n"},
            "engine option max_tokens_field is 'n': must be of max_tokens, max_completion_tokens",
        ),
        (
            Vllm,
            {"model": "m", "args": {"revision": "1"}},
            "engine option args has 'revision': use the option revision",
        ),
    ],
)
def test_what_is_wrong_is_one_line(model: type[EngineOptions], options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError) as caught:
        model.read(options)
    assert str(caught.value) == said


def test_what_may_be_a_secret_is_not_repeated() -> None:
    secret = "".join(["s3", "cret"])
    with pytest.raises(OptionsError) as caught:
        OpenAI.read({"model": "m", "base_url": f"http://me:{secret}@host/v1"})
    assert secret not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("model", [LlamaCpp, OpenAI, Vllm])
def test_null_is_the_default_and_nothing_changes_once_read(model: type[EngineOptions]) -> None:
    needed = {name: "m" for name, field in model.model_fields.items() if field.is_required()}
    read = model.read(dict.fromkeys(model.model_fields) | needed)
    assert read == model.read(needed)
    with pytest.raises(ValueError, match="frozen"):
        read.adapter = "x"  # type: ignore[attr-defined]


def test_openais_key_goes_to_openai_alone() -> None:
    here = "http://localhost:1/v1"
    assert OpenAI.read({"model": "m"}).key_env == KEY_ENV
    assert OpenAI.read({"model": "m", "base_url": here}).key_env is None
    assert OpenAI.read({"model": "m", "base_url": here, "api_key_env": "K"}).key_env == "K"


@pytest.mark.parametrize(("name", "model"), [("embedded", LlamaCpp), ("endpoint", OpenAI), ("gpu", Vllm)])
def test_the_shipped_configuration_shows_every_option(name: str, model: type[EngineOptions]) -> None:
    shown = read_yaml(conf_folder() / "engines.yml")[name]["options"]
    assert list(shown) == list(model.model_fields)
    assert all(field.description for field in model.model_fields.values())


def test_unknown_names_are_refused_together() -> None:
    refuse_unknown({"a": 1}, ["a", "b"])
    with pytest.raises(OptionsError, match=r"'mode' \(did you mean 'model'\?\); unknown engine option 'x'"):
        refuse_unknown({"mode": 1, "x": 2}, ["model"])
