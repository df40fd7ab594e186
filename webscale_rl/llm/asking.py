"""From a recipe's body to requests: what the stages that ask a model share.

A body that asks holds ``engine`` (the engine's identity), ``prompt`` (a prompt file's content) and
``sampling``. Requests are built from the body alone, so that those of an old recipe can be rendered
again from the table `recipes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from webscale_rl.config_types import AskingSettings
from webscale_rl.errors import ConfigError
from webscale_rl.llm.catalogue import Domain, Prompt
from webscale_rl.llm.messages import constants, harmless, messages_column, request_column


def asking_body(settings: AskingSettings, prompt: Prompt, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe's body that determines requests."""
    sampling = settings.sampling.model_dump() | {
        "max_tokens": prompt.max_tokens,
        "stop": list(prompt.stop),
    }
    return {"engine": dict(identity), "prompt": prompt.model_dump(), "sampling": sampling}


def request(
    body: Mapping[str, Any],
    values: Mapping[str, Column],
    schema: Mapping[str, Any] | None = None,
    choices: list[str] | None = None,
    row_choices: Column | None = None,
) -> Column:
    """The canonical JSON of each row's request.

    Args:
        body: a recipe's body with the parts of `asking_body`.
        values: columns for the prompt's placeholders.
        schema: response schema, domains filled in.
        choices: the same choices for all rows, or
        row_choices: array<string>, choices of each row.
    """
    prompt = body["prompt"]
    templates = [
        {"role": role, "content": prompt[role]}
        for role in ("system", "user", "assistant")
        if prompt.get(role)
    ]
    fields = constants(
        body["engine"],
        body["sampling"],
        prompt["prompt_format"],
        schema,
        choices,
        fixed_choices=row_choices is None,
    )
    if row_choices is not None:
        row_choices = F.transform(row_choices, harmless)
    return request_column(fields, messages_column(templates, values), row_choices)


def require_reply_fields(prompt: Prompt, name: str, fields: set[str]) -> None:
    """See that a prompt's schema asks for what a stage reads.

    Raises:
        ConfigError: a field is missing.
    """
    have = set((prompt.response_schema or {}).get("properties", {}))
    if missing := sorted(fields - have):
        raise ConfigError(f"prompt {name}: its schema lacks {', '.join(missing)}")


def domain_data(domains: list[Domain]) -> list[dict[str, Any]]:
    """The domains as plain data for a recipe's body."""
    return [domain.model_dump(mode="json") for domain in domains]
