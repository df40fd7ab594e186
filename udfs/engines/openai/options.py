"""The options of the engine `openai`: what they may be, and where the key is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from udfs.engines.errors import MissingExtraError, OptionsError
from udfs.engines.options import option, refuse_unknown

OPTIONS = (
    *("base_url", "model", "revision", "adapter", "api_key_env"),
    *("concurrency", "timeout", "attempts", "patience"),
    *("response_format", "logprobs", "max_tokens_field", "omit", "extra_body"),
)
KEY_ENV = "OPENAI_API_KEY"
# Ways to ask for JSON, the strictest first; where a server lacks one, the next is taken.
FORMATS = ("json_schema", "json_object", "prompt")
_OMITTABLE = ("seed", "temperature", "top_p", "stop")


@dataclass(frozen=True)
class Options:
    """The engine's options, checked and with their defaults (see `engine.OpenAIEngine`)."""

    base_url: str | None
    model: str
    revision: str | None
    adapter: str | None
    api_key_env: str | None
    concurrency: int
    timeout: float
    attempts: int
    patience: float
    response_format: str | None
    logprobs: bool | None
    max_tokens_field: str
    omit: tuple[str, ...]
    extra_body: dict[str, Any]


def client_package() -> Any:
    """The official client.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openai
    except ImportError as error:
        raise MissingExtraError(
            f"the engine openai needs its client: pip install 'webscale-rl[openai]' ({error})"
        ) from error
    return openai


def key_of(given: Options) -> str | None:
    """The key; None for an endpoint that needs none.

    Raises:
        OptionsError: the variable is not set.
    """
    if given.api_key_env is None:
        return None
    key = os.environ.get(given.api_key_env)
    if not key:
        raise OptionsError(
            f"the environment variable {given.api_key_env} with the endpoint's key is not set (on a cluster: "
            f"spark.executorEnv.{given.api_key_env}, from a secret scope)"
        )
    return key


def check(options: Mapping[str, Any]) -> Options:
    """The options with their defaults.

    Raises:
        OptionsError
    """
    if "api_key" in options:
        raise OptionsError(
            "a key does not belong into a configuration: put it into an environment variable, and name "
            "that one as api_key_env"
        )
    refuse_unknown(options, OPTIONS)
    model = option(options, "model", None, str)
    if not model:
        raise OptionsError("engine option model is missing: the model's name at the endpoint")
    base_url = option(options, "base_url", None, str)
    if base_url is not None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionsError("engine option base_url must be an address such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise OptionsError("engine option base_url must hold no user or password: use api_key_env")
    form = option(options, "response_format", None, str)
    if form is not None and form not in FORMATS:
        raise OptionsError(f"engine option response_format is {form!r}: must be of {', '.join(FORMATS)}")
    field = option(options, "max_tokens_field", "max_tokens", str)
    if field not in ("max_tokens", "max_completion_tokens"):
        raise OptionsError("engine option max_tokens_field: must be max_tokens or max_completion_tokens")
    omit = option(options, "omit", [], list)
    if wrong := [name for name in omit if name not in _OMITTABLE]:
        raise OptionsError(f"engine option omit names {wrong[0]!r}: of {', '.join(_OMITTABLE)}")
    return Options(
        base_url=base_url,
        model=model,
        revision=option(options, "revision", None, str),
        adapter=option(options, "adapter", None, str),
        # Never OpenAI's key to somebody else.
        api_key_env=option(options, "api_key_env", KEY_ENV if base_url is None else None, str),
        concurrency=option(options, "concurrency", 16, int, 1, 10_000),
        timeout=float(option(options, "timeout", 120, int | float, 0.01, 86_400)),  # type: ignore[arg-type]
        attempts=option(options, "attempts", 5, int, 1, 100),
        patience=float(option(options, "patience", 600, int | float, 0, 86_400)),  # type: ignore[arg-type]
        response_format=form,
        logprobs=option(options, "logprobs", None, bool),
        max_tokens_field=field,
        omit=tuple(omit),
        extra_body=option(options, "extra_body", {}, dict),
    )
