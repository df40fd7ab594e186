"""What recipes are made from: settings, engines, and the data of the prompts. No Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webscale_rl.core.files import find_file
from webscale_rl.core.settings import AskingSettings, Section
from webscale_rl.llm.engines import Engines
from webscale_rl.llm.prompts import Demonstration, Domain, Prompt, load_prompt
from webscale_rl.llm.requests import IDENTITY_FIELDS
from webscale_rl.text.control_tokens import families_of


@dataclass(frozen=True)
class Parts:
    """What recipes are made from.

    Attributes:
        sections: the settings of every stage.
        demonstrations: worked examples by domain.
    """

    sections: Mapping[str, Section]
    engines: Engines
    domains: list[Domain]
    demonstrations: dict[str, list[Demonstration]]

    def asked(self, settings: AskingSettings) -> tuple[Prompt, dict[str, Any]]:
        """The prompt that a step asks with, and the identity of the engine that it asks.

        Beside it stand the `families` of the engine's model, which say what is escaped in a prompt. An
        endpoint may call any model by any name, so nothing is said of one.

        Raises:
            ConfigError: the prompt's file is missing or wrong.
            EngineUnavailableError: the engine cannot work here.
        """
        prompt = load_prompt(find_file(settings.prompt, "prompts", ".yml"))
        identity = self.engines.get(settings.engine).identity
        # What does not change a reply (paths, sizes) is no part of a recipe.
        found = {name: identity.get(name) for name in IDENTITY_FIELDS}
        families = () if identity.get("engine") == "openai" else families_of(str(identity.get("name") or ""))
        return prompt, found | ({"families": list(families)} if families else {})
