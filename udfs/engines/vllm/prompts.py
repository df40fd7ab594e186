"""Prompts as tokens: a chat's text begins with the token that begins a sequence once, and not twice."""

from __future__ import annotations

from typing import Any


def writes_start(tokenizer: Any, text: str) -> bool:
    """Whether a chat template has written the token that begins a sequence, which tokenizers add as well."""
    start = getattr(tokenizer, "bos_token", None)
    return bool(start) and text.startswith(str(start))


def tokens(tokenizer: Any, text: str, is_chat: bool) -> list[int]:
    """The tokens of a prompt.

    Args:
        text: what a chat template has written, or a raw prompt.
    """
    has_start = is_chat and writes_start(tokenizer, text)
    return list(tokenizer.encode(text, add_special_tokens=not has_start))
