"""JSON schemas of replies: what decoding enforces of them, and how a reply breaks one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
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


def supported() -> str:
    """What schemas are accepted, as a short hash: another one once more of them are."""
    rules = json.dumps([sorted(_ENFORCED), sorted(_FORMATS), _UNSUPPORTED_PATTERN.pattern])
    return hashlib.sha256(rules.encode()).hexdigest()[:12]


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
    found = unenforced(schema)
    return None if found is None else found[1]


def unenforced(schema: Any) -> tuple[str, str] | None:
    """The first part of a valid schema that decoding would ignore; None when it enforces all.

    Returns:
        Where it stands, as names with a dot before each (empty for the whole), and what it is.
    """
    return next(_unenforced(schema, schema, ""), None)


def _unenforced(schema: Any, root: Any, where: str) -> Iterator[tuple[str, str]]:
    if schema is True:
        return
    if schema is False:
        yield where, "the schema 'false' allows nothing"
        return
    for keyword in sorted(set(schema) - _ENFORCED):
        yield where, f"engines do not support {keyword!r} in a schema"
    reference = schema.get("$ref")
    if reference is not None and not _resolves(reference, root):
        yield where, f"reference {reference!r} does not lead inside the schema"
    if "format" in schema and schema["format"] not in _FORMATS:
        yield where, f"unknown format {schema['format']!r}"
    if _UNSUPPORTED_PATTERN.search(schema.get("pattern", "")):
        yield where, f"pattern {schema['pattern']!r} needs look-around or back-references"
    for keyword in ("$defs", "definitions", "properties"):
        under = "" if keyword == "properties" else f".{keyword}"
        for name, part in schema.get(keyword, {}).items():
            yield from _unenforced(part, root, f"{where}{under}.{name}")
    for keyword in ("anyOf", "allOf", "prefixItems"):
        for number, part in enumerate(schema.get(keyword, [])):
            yield from _unenforced(part, root, f"{where}.{keyword}.{number}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from _unenforced(schema[keyword], root, f"{where}.{keyword}")


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
