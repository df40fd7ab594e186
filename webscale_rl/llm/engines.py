"""The engines that the configuration names, as the driver sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import Field

from webscale_rl.core.settings import Section
from webscale_rl.core.suggest import nearest
from webscale_rl.errors import ConfigError, EngineUnavailableError


class Prices(Section):
    """What an engine's tokens cost, per million, in any one currency."""

    prompt: float = Field(ge=0, description="per million prompt tokens that were not cached")
    cached: float = Field(ge=0, description="per million cached prompt tokens")
    completion: float = Field(ge=0, description="per million completion tokens")


class EngineSettings(Section):
    """One engine that stages can name."""

    engine: str = Field(description="llamacpp, openai, vllm, or package.module:Class for your own engine")
    options: dict[str, Any] = Field(default_factory=dict, description="options of that engine, checked by it")
    workers: int | None = Field(
        default=None,
        ge=1,
        description="engines in parallel; null: one per core, or as GPUs allow",
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        description="GPUs per engine; null: what it asks for (vllm: one, or its parallel sizes)",
    )
    in_flight: int = Field(default=1, ge=1, le=8, description="chunks in progress at a time")
    tasks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="tasks per chunk and engine: more balance engines of unequal speed better, fewer let a "
        "batch run dry less often",
    )
    chunk_tokens: int = Field(default=200_000, ge=1, description="estimated tokens per chunk (one append)")
    prices: Prices | None = Field(default=None, description="prices, for plan and --max-cost")


@dataclass(frozen=True)
class Engine:
    """One configured engine: what Python workers build it from, and what names its replies.

    Attributes:
        name: its name in the configuration.
        settings: its section.
        identity: what its replies depend on: family, model hash, template hash, data type, adapter.
    """

    name: str
    settings: EngineSettings
    identity: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        """What `udfs.engines.worker.engine_function` builds the engine from, in a Python worker."""
        return {"engine": self.settings.engine, "options": self.settings.options, "gpus": self.gpus}

    @property
    def gpus(self) -> int:
        """GPUs that one engine needs."""
        from udfs.engines.worker import engine_class

        if self.settings.gpus is not None:
            return self.settings.gpus
        return engine_class(self.settings.engine).gpus(self.settings.options)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What decides whether a request can be answered at all (`Engine.decides`), as plain data.

        Raises:
            EngineUnavailableError: an option is wrong.
        """
        from udfs.engines.errors import EngineError
        from udfs.engines.schemas import supported
        from udfs.engines.worker import engine_class

        try:
            found = engine_class(self.settings.engine).decides(self.settings.options)
        except EngineError as error:
            raise EngineUnavailableError(f"engine {self.name}: {error}") from error
        return {"schemas": supported()} | found

    def trial(self) -> str:
        """What is found where one looks whether the engine would work; costs nothing.

        Raises:
            EngineUnavailableError: it would not.
        """
        from udfs.engines.errors import EngineError
        from udfs.engines.worker import engine_class

        try:
            return engine_class(self.settings.engine).trial(self.settings.options)
        except EngineError as error:
            raise EngineUnavailableError(f"engine {self.name}: {error}") from error

    def cost(self, prompt: float, cached: float, completion: float) -> float | None:
        """The price of tokens (cached ones are part of the prompt's); None without prices."""
        prices = self.settings.prices
        if prices is None:
            return None
        fresh = (prompt - cached) * prices.prompt
        return (fresh + cached * prices.cached + completion * prices.completion) / 1e6


class Engines:
    """The configuration's engines, each identified once, when a stage first asks for it.

    Args:
        configured: their settings by name.
        recognise: of an identity and those that earlier versions gave the same model, the one to go by; None
            for the present one.
    """

    def __init__(
        self,
        configured: Mapping[str, EngineSettings],
        recognise: Callable[[dict[str, Any], list[dict[str, Any]]], dict[str, Any]] | None = None,
    ) -> None:
        self._configured = configured
        self._recognise = recognise
        self._found: dict[str, Engine] = {}

    def settings(self, name: str) -> EngineSettings:
        """The settings of the engine of that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self._configured:
            raise ConfigError(f"no engine {name!r} in the configuration{nearest(name, self._configured)}")
        return self._configured[name]

    def get(self, name: str) -> Engine:
        """The engine of that name, its model found and hashed.

        Raises:
            ConfigError: no engine has that name.
            EngineUnavailableError: it cannot work here; the message says what to do.
        """
        from udfs.engines.errors import EngineError
        from udfs.engines.worker import engine_class

        if name not in self._found:
            settings = self.settings(name)
            try:
                made = engine_class(settings.engine)
                identity = made.identity(settings.options)
                legacy = made.legacy_identities(settings.options) if self._recognise is not None else []
            except EngineError as error:
                raise EngineUnavailableError(f"engine {name}: {error}") from error
            if self._recognise is not None and legacy:
                identity = self._recognise(identity, legacy)
            self._found[name] = Engine(name, settings, identity)
        return self._found[name]
