"""The engines that the configuration names, as the driver sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webscale_rl.errors import EngineUnavailableError

if TYPE_CHECKING:
    from webscale_rl.config import Config, EngineSettings


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
        """What `udfs.engines.engine_function` builds the engine from, in a Python worker."""
        return {"engine": self.settings.engine, "options": self.settings.options, "gpus": self.gpus}

    @property
    def gpus(self) -> int:
        """GPUs that one engine needs."""
        from udfs.engines import engine_class

        if self.settings.gpus is not None:
            return self.settings.gpus
        return engine_class(self.settings.engine).gpus(self.settings.options)

    def trial(self) -> str:
        """What is found where one looks whether the engine would work; costs nothing.

        Raises:
            EngineUnavailableError: it would not.
        """
        from udfs.engines import engine_class
        from udfs.engines.base import EngineError

        try:
            return engine_class(self.settings.engine).trial(self.settings.options)
        except EngineError as error:
            raise EngineUnavailableError(f"engine {self.name}: {error}") from error

    def cost(self, prompt: float, cached: float, completion: float) -> float | None:
        """The price of so many tokens (cached ones are part of the prompt's); None without prices."""
        prices = self.settings.prices
        if prices is None:
            return None
        fresh = (prompt - cached) * prices.prompt
        return (fresh + cached * prices.cached + completion * prices.completion) / 1e6


class Engines:
    """The configuration's engines, each identified once, when a stage first asks for it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._found: dict[str, Engine] = {}

    def get(self, name: str) -> Engine:
        """The engine of that name, its model found and hashed.

        Raises:
            ConfigError: no engine has that name.
            EngineUnavailableError: it cannot work here; the message says what to do.
        """
        from udfs.engines import engine_class
        from udfs.engines.base import EngineError

        if name not in self._found:
            settings = self._config.engine(name)
            try:
                identity = engine_class(settings.engine).identity(settings.options)
            except EngineError as error:
                raise EngineUnavailableError(f"engine {name}: {error}") from error
            self._found[name] = Engine(name, settings, identity)
        return self._found[name]
