"""JSON schemas of replies: what decoding enforces of them, and how a reply breaks one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Keywords that constrained decoding enforces. Others would be ignored without a word, so they are
# refused; `oneOf` is among the refused because decoders take it for `anyOf`.
_ENFORCED = frozenset(
    {
        *("$defs", "definitions", "$ref", "$schema", "$id", "$comment"),
        *("title", "description", "default", "examples"),
        *("type", "enum", "const", "anyOf", "allOf"),
        *("properties", "required", "additionalProperties"),
        *("items", "prefixItems", "minItems", "maxItems"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_FORMATS = frozenset(
    {"date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
_UNSUPPORTED_PATTERN = re.compile(r"\(\?|\\[1-9bB]")


@lru_cache(maxsize=256)
def schema_problem(schema_json: str) -> str | None:
    """Why a JSON schema cannot be enforced while decoding; None when it can."""
    import jsonschema

    try:
        schema = json.loads(schema_json)
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"not a JSON schema: {error.message}"
    except RecursionError:
        return "nested too deeply"
    return _not_enforced(schema, schema)


def _not_enforced(schema: Any, root: Any) -> str | None:
    """The first part of a valid schema that decoding would ignore."""
    if schema is True:
        return None
    if schema is False:
        return "the schema 'false' allows nothing"
    unknown = sorted(set(schema) - _ENFORCED)
    if unknown:
        return f"keyword {unknown[0]!r} cannot be enforced while decoding"
    reference = schema.get("$ref")
    if reference is not None and not _resolves(reference, root):
        return f"reference {reference!r} does not lead inside the schema"
    if "format" in schema and schema["format"] not in _FORMATS:
        return f"unknown format {schema['format']!r}"
    if _UNSUPPORTED_PATTERN.search(schema.get("pattern", "")):
        return f"pattern {schema['pattern']!r} needs look-around or back-references"
    parts: list[Any] = []
    for keyword in ("$defs", "definitions", "properties"):
        parts.extend(schema.get(keyword, {}).values())
    for keyword in ("anyOf", "allOf", "prefixItems"):
        parts.extend(schema.get(keyword, []))
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            parts.append(schema[keyword])
    return next((problem for part in parts if (problem := _not_enforced(part, root))), None)


def _resolves(reference: str, root: Any) -> bool:
    """Whether a JSON pointer inside the schema leads to something."""
    if not reference.startswith("#"):
        return False
    node = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or step not in node:
            return False
        node = node[step]
    return isinstance(node, dict | bool)


def schema_violation(text: str, schema: Mapping[str, Any]) -> str | None:
    """How a finished reply breaks its schema; None when it does not."""
    import jsonschema

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(value):
        return str(problem.message)
    return None


def in_asked_order(schema: Any) -> Any:
    """A schema with its properties in the order of `required`.

    Canonical JSON sorts keys, and decoders write fields in the order of `properties`: without this a
    model would write its verdict before its reason, and its answer before its question.
    """
    if isinstance(schema, list):
        return [in_asked_order(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = {key: in_asked_order(part) for key, part in schema.items()}
    properties = ordered.get("properties")
    required = ordered.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        first = [name for name in required if name in properties]
        rest = [name for name in properties if name not in first]
        ordered["properties"] = {name: properties[name] for name in (*first, *rest)}
    return ordered
