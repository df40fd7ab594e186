"""Replies read with a real schema validator, inside a Python worker.

Spark's own JSON reader gives the same null for missing, mistyped and cut off; here each gets its name.
Reading is replayable: it depends on the completion and the schema alone.
"""

from __future__ import annotations

import json
import re

import jsonschema

MAX_REPLY_CHARS = 1_000_000
# JSON can name half a character ("\\ud83d" alone); no table can hold it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
PARSE_REASONS = (
    "reply_missing",
    "reply_cut_off",
    "reply_empty",
    "reply_not_json",
    "reply_not_as_asked",
)


def read_reply(
    text: str | None,
    finish_reason: str | None,
    error: str | None,
    validator: jsonschema.protocols.Validator | None,
) -> tuple[str | None, str | None]:
    """One completion as ``(value, reason)``: exactly one of them is not None.

    Args:
        text: the raw reply.
        finish_reason: stop, length or error.
        error: the engine's error, its short name before the first colon.
        validator: of the response schema; None for a reply in free text.

    Returns:
        The validated JSON (canonical text) or the stripped free text; or a reason: the engine's error
        name, ``reply_missing``, ``reply_cut_off``, ``reply_empty``, ``reply_not_json``,
        ``reply_not_as_asked``.
    """
    if finish_reason == "error":
        return None, (error or "engine_error").partition(":")[0].strip() or "engine_error"
    if text is None:
        return None, "reply_missing"
    if validator is None:
        stripped = text.strip()
        return (stripped, None) if stripped else (None, "reply_empty")
    if finish_reason == "length":
        return None, "reply_cut_off"
    if len(text) > MAX_REPLY_CHARS:
        return None, "reply_not_json"
    try:
        value = json.loads(text)
        valid = validator.is_valid(value)
    except (ValueError, RecursionError):
        return None, "reply_not_json"
    if not valid:
        return None, "reply_not_as_asked"
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return _HALF_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", canonical), None
