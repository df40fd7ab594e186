"""Replies read with a real schema validator, inside a Python worker.

Spark's own JSON reader gives the same null for missing, mistyped and cut off; here each gets its name.
Reading is replayable: it depends on the completion and the schema alone.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema

from webscale_rl.llm.latex import restore_backslashes

MAX_REPLY_CHARS = 1_000_000
PARSE_REASONS = (
    "reply_missing",
    "reply_cut_off",
    "reply_empty",
    "reply_not_json",
    "reply_trailing_comma",
    "reply_raw_newline",
    "reply_bad_escape",
    "reply_duplicate_key",
    "reply_not_as_asked",
    "reply_control_character",
)
# JSON can name half a character ("\\ud83d" alone); no table can hold it.
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
# No passage has one (`text.clean`), so none is copied: it is what is left of a broken escape.
_CONTROL_CHARACTER = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>", re.IGNORECASE)
_END_OF_THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_SPACE = re.compile(r"\s*+")
_FENCE = re.compile(r"```[A-Za-z]*\s")
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|,(?=\s*+[}\]])', re.DOTALL)


class _DuplicateKeyError(ValueError):
    """An object names a key twice."""


def read_reply(
    text: str | None,
    finish_reason: str | None,
    error: str | None,
    validator: jsonschema.protocols.Validator | None,
) -> tuple[str | None, str | None]:
    """One completion as ``(value, reason)``: exactly one of them is not None.

    What a model thought aloud before its reply is left out, and so is the fence of a reply that is one block
    of code. Single backslashes of LaTeX are taken for what they are meant to be (`llm.latex`).

    Args:
        text: the raw reply.
        finish_reason: stop, length or error.
        error: the engine's error, its short name before the first colon.
        validator: of the response schema; None for a reply in free text.

    Returns:
        The validated JSON (canonical text) or the stripped free text; or a reason: the engine's error
        name, or one of `PARSE_REASONS`.
    """
    if finish_reason == "error":
        return None, (error or "engine_error").partition(":")[0].strip() or "engine_error"
    if text is None:
        return None, "reply_missing"
    said = _without_thought(text)
    if said is None or (finish_reason == "length" and validator is not None):
        return None, "reply_cut_off"
    if not said:
        return None, "reply_empty"
    if validator is None:
        return (None, "reply_control_character") if _CONTROL_CHARACTER.search(said) else (said, None)
    if len(said) > MAX_REPLY_CHARS:
        return None, "reply_not_json"
    return _read_json(said, validator)


def _read_json(said: str, validator: jsonschema.protocols.Validator) -> tuple[str | None, str | None]:
    source = restore_backslashes(_within_fence(said))
    try:
        value = json.loads(source, object_pairs_hook=_object)
        valid = validator.is_valid(value)
    except _DuplicateKeyError:
        return None, "reply_duplicate_key"
    except json.JSONDecodeError as error:
        return None, _why_not_json(source, error)
    except (ValueError, RecursionError):
        return None, "reply_not_json"
    if not valid:
        return None, "reply_not_as_asked"
    if _holds_control_character(value):
        return None, "reply_control_character"
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return _HALF_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", canonical), None


def _without_thought(text: str) -> str | None:
    """The reply behind what a model thought aloud, stripped; None for a thought that never ends."""
    said = text.strip()
    start = 0
    while _THOUGHT.match(said, start):
        end = _END_OF_THOUGHT.search(said, start)
        if end is None:
            return None
        start = _after_space(said, end)
    if start == 0 and not said.startswith(("{", "[", '"', "`")):
        # Where the chat template opens the thought, the reply begins within it.
        end = _END_OF_THOUGHT.search(said)
        start = 0 if end is None else _after_space(said, end)
    return said[start:]


def _after_space(said: str, found: re.Match[str]) -> int:
    space = _SPACE.match(said, found.end())
    return space.end() if space else found.end()


def _within_fence(said: str) -> str:
    """What stands in a block of code, where the reply is one block and nothing else."""
    opens = _FENCE.match(said)
    return said[opens.end() : -3] if opens and said.endswith("```") and len(said) > opens.end() + 2 else said


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def _why_not_json(source: str, error: json.JSONDecodeError) -> str:
    """The reason of the first thing that is wrong with a JSON text."""
    if error.msg.startswith("Invalid control character"):
        return "reply_raw_newline" if source[error.pos] in "\r\n" else "reply_control_character"
    if error.msg.startswith(("Invalid \\escape", "Invalid \\uXXXX")):
        return "reply_bad_escape"
    without = _STRING_OR_COMMA.sub(lambda found: "" if found[0] == "," else found[0], source)
    if without != source:
        try:
            json.loads(without)
        except (ValueError, RecursionError):
            return "reply_not_json"
        return "reply_trailing_comma"
    return "reply_not_json"


def _holds_control_character(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_CONTROL_CHARACTER.search(value))
    if isinstance(value, dict):
        return any(map(_holds_control_character, (*value, *value.values())))
    return isinstance(value, list) and any(map(_holds_control_character, value))
