"""Prompt templates: text with `{name}` placeholders, and with literal braces doubled.

A template is parsed once into its pieces, so that a stage can build the same text with native
columns (a literal here, a column there). Values go in as they are: braces inside a document
are text and never looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from webscale_rl.errors import ConfigError

_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*)\}|[{}]")


@dataclass(frozen=True)
class Literal:
    """Text that stands in the result as it is (doubled braces already made single)."""

    text: str


@dataclass(frozen=True)
class Placeholder:
    """A place for the value of this name."""

    name: str


def parse(text: str) -> list[Literal | Placeholder]:
    """The pieces of a template in their order; neighbouring literal text is one piece.

    Raises:
        ConfigError: a brace is neither doubled nor part of a `{name}` (small letters, digits, `_`).
    """
    pieces: list[Literal | Placeholder] = []
    literal: list[str] = []
    end = 0
    for token in _TOKEN.finditer(text):
        literal.append(text[end : token.start()])
        end = token.end()
        if token.group() in ("{{", "}}"):
            literal.append(token.group()[0])
        elif token.group(1):
            _flush(literal, pieces)
            pieces.append(Placeholder(token.group(1)))
        else:
            line = text.count("\n", 0, token.start()) + 1
            near = text[token.start() : token.start() + 20].split("\n", 1)[0]
            raise ConfigError(
                f"line {line}: lone brace at {near!r}; write {{name}} for a placeholder and"
                " double a brace that is meant as text"
            )
    literal.append(text[end:])
    _flush(literal, pieces)
    return pieces


def render(text: str, values: Mapping[str, str]) -> str:
    """The template with each placeholder replaced by its value, verbatim; others are ignored.

    Raises:
        ConfigError: the template is malformed, or a placeholder has no value.
    """
    parts = []
    for piece in parse(text):
        if isinstance(piece, Literal):
            parts.append(piece.text)
        elif piece.name in values:
            parts.append(values[piece.name])
        else:
            raise ConfigError(f"no value for the placeholder {{{piece.name}}}")
    return "".join(parts)


def _flush(literal: list[str], pieces: list[Literal | Placeholder]) -> None:
    text = "".join(literal)
    literal.clear()
    if text:
        pieces.append(Literal(text))
