"""Requests to a language model, built with native columns and named by their content.

The body of a recipe that asks holds ``engine`` (the engine's identity, and the families of its model where
they are known), ``prompt`` (a prompt file's content) and ``sampling``. Requests are built from the body
alone, so that those of an old recipe can be rendered again from the table `recipes`.

A logical request is everything that can change the reply: messages, model, template, adapter, engine
family and data type, all sampling, schema or choices, sample number. Its canonical JSON is what the
engine reads, and the sha256 of that JSON is its key, so two equal requests are paid for once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import canonical_json
from webscale_rl.core.settings import AskingSettings
from webscale_rl.errors import ConfigError
from webscale_rl.llm.prompts import Domain, Prompt
from webscale_rl.llm.template import Placeholder, parse
from webscale_rl.text import control_tokens

# A model's reply can hold them, and JSON writers differ in how they write them.
_CONTROL_CHARACTER = r"[\x00-\x08\x0b\x0c\x0e-\x1f]"

# Every field of a logical request. `identity` fields come from the engine, the rest from the stage.
IDENTITY_FIELDS = ("adapter", "dtype", "engine", "model", "template")
REQUEST_FIELDS = (
    "adapter",
    "choices",
    "dtype",
    "engine",
    "messages",
    "model",
    "prompt_format",
    "response_schema",
    "sample",
    "sampling",
    "template",
)


def escape_control_tokens(value: Column, families: Collection[str] = ()) -> Column:
    """A text as it may stand in a prompt: no control characters, nothing that marks the turns of a chat.

    Args:
        families: of the model that is asked (`text.control_tokens`); none for one that is not known, which
            could be of any.
    """
    bare = F.regexp_replace(value, _CONTROL_CHARACTER, "")
    return F.regexp_replace(bare, control_tokens.pattern(families), "< $1$2 >")


def template_column(template: str, values: Mapping[str, Column], families: Collection[str] = ()) -> Column:
    """A prompt template with its placeholders filled from columns; a null value becomes empty.

    Control tokens are escaped in the values: a document could else end its message and speak as the system.

    Args:
        families: as for `escape_control_tokens`.

    Raises:
        KeyError: the template names a placeholder that ``values`` lacks.
    """
    parts = [
        escape_control_tokens(F.coalesce(values[part.name].cast("string"), F.lit("")), families)
        if isinstance(part, Placeholder)
        else F.lit(part.text)
        for part in parse(template)
    ]
    return F.concat(*parts) if parts else F.lit("")


def messages_column(
    templates: list[dict[str, str]], values: Mapping[str, Column], families: Collection[str] = ()
) -> Column:
    """Messages as array<struct<content: string, role: string>>, fields in canonical order.

    Args:
        templates: ``{"role": ..., "content": template}`` each, in order.
        families: as for `escape_control_tokens`.
    """
    return F.array(
        *[
            F.struct(
                template_column(message["content"], values, families).alias("content"),
                F.lit(message["role"]).alias("role"),
            )
            for message in templates
        ]
    )


def request_column(constants: Mapping[str, Any], messages: Column, choices: Column | None = None) -> Column:
    """The canonical JSON of a logical request, as a native column.

    Args:
        constants: every field of `REQUEST_FIELDS` but messages, and choices where they vary by row.
        messages: array<struct<content, role>>.
        choices: array<string>, where each row has choices of its own.

    Raises:
        ValueError: a field is missing or unknown.
    """
    varying = {"messages": F.to_json(messages)}
    if choices is not None:
        varying["choices"] = F.to_json(choices)
    given = set(constants) | set(varying)
    if given != set(REQUEST_FIELDS) or set(constants) & set(varying):
        raise ValueError(f"a request needs exactly the fields {REQUEST_FIELDS}, got {sorted(given)}")
    parts: list[Column] = []
    text = "{"
    for index, name in enumerate(REQUEST_FIELDS):
        text += ("," if index else "") + f'"{name}":'
        if name in varying:
            parts += [F.lit(text), varying[name]]
            text = ""
        else:
            text += canonical_json(constants[name])
    return F.concat(*parts, F.lit(text + "}"))


def request_id(request: Column) -> Column:
    """The key of a request: the sha256 of its canonical JSON."""
    return F.sha2(request, 256)


def constants(
    identity: Mapping[str, Any],
    sampling: Mapping[str, Any],
    prompt_format: str,
    response_schema: Mapping[str, Any] | None = None,
    choices: list[str] | None = None,
    sample: int = 0,
    fixed_choices: bool = True,
) -> dict[str, Any]:
    """The fields of a request that are the same for every row of a stage.

    Args:
        identity: the engine's identity (`IDENTITY_FIELDS`; what it leaves out is null).
        fixed_choices: False where each row brings its own choices.
    """
    fields: dict[str, Any] = {name: identity.get(name) for name in IDENTITY_FIELDS}
    fields |= {
        "prompt_format": prompt_format,
        "response_schema": response_schema,
        "sample": sample,
        "sampling": dict(sampling),
    }
    if fixed_choices:
        fields["choices"] = choices
    return fields


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
    families = body["engine"].get("families", ())
    if row_choices is not None:
        row_choices = F.transform(row_choices, lambda choice: escape_control_tokens(choice, families))
    return request_column(fields, messages_column(templates, values, families), row_choices)


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
    return [domain.model_dump(mode="json", by_alias=True) for domain in domains]
