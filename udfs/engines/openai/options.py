"""The options of the engine `openai`: what they may be, and where the key is."""

from __future__ import annotations

import os
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from udfs.engines.errors import MissingExtraError, OptionsError
from udfs.engines.options import EngineOptions

KEY_ENV = "OPENAI_API_KEY"
# Ways to ask for JSON, the strictest first; where a server lacks one, the next is taken.
FORMATS = ("json_schema", "json_object", "prompt")


class Options(EngineOptions):
    """What a client of one endpoint is told."""

    base_url: str | None = Field(None, description="the endpoint's address up to /v1; null: OpenAI's")
    model: str = Field(min_length=1, description="the model's name at the endpoint")
    revision: str | None = Field(
        None, description="distinguishes models served under the same name (part of the recipe)"
    )
    adapter: str | None = Field(
        None,
        description="name under which the server has the model with a LoRA adapter (vLLM: --lora-modules)",
    )
    api_key_env: str | None = Field(
        None,
        description="name of the environment variable with the key; null: OPENAI_API_KEY for OpenAI, and no "
        "key for another base_url",
    )
    concurrency: int = Field(
        16, ge=1, le=10_000, description="requests in flight in one worker, halved while the server refuses"
    )
    timeout: float = Field(120.0, ge=0.01, le=86_400, description="seconds for one attempt")
    attempts: int = Field(
        5, ge=1, le=100, description="of a request, where the server fails or does not answer"
    )
    patience: float = Field(
        600.0, ge=0, le=86_400, description="seconds that a request waits while the server refuses for load"
    )
    response_format: Literal["json_schema", "json_object", "prompt"] | None = Field(
        None, description="how JSON is asked for; null: the strictest way that the server knows"
    )
    logprobs: bool | None = Field(
        None, description="whether to ask for token log-probabilities; null: where the server gives them"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="max_completion_tokens for models that want that name"
    )
    omit: tuple[Literal["seed", "temperature", "top_p", "stop"], ...] = Field(
        (), strict=False, description="sampling fields that the model refuses"
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="anything else that the endpoint understands, sent with each request",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_key(cls, given: Any) -> Any:
        if "api_key" in given:
            raise ValueError(
                "a key does not belong in a configuration: put it into an environment variable, and name "
                "that one as api_key_env"
            )
        return given

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("must be an address such as http://localhost:8000/v1")
            if parts.username or parts.password:
                raise ValueError("must not contain a user or password: use api_key_env")
        return url

    @property
    def key_env(self) -> str | None:
        """The variable that holds the key: never OpenAI's key to somebody else."""
        return self.api_key_env or (KEY_ENV if self.base_url is None else None)


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
    name = given.key_env
    if name is None:
        return None
    key = os.environ.get(name)
    if not key:
        raise OptionsError(
            f"the environment variable {name} with the endpoint's key is not set (on a cluster: "
            f"spark.executorEnv.{name}, from a secret scope)"
        )
    return key
