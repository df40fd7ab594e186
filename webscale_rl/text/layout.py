"""Plain text for a terminal: wrapped, indented, and free of control characters."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

WIDTH = 100

# Documents and replies are not ours: an escape sequence in one could rewrite the reader's screen.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with its control characters (all but line feed and tab) replaced by ``\ufffd``."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def block(text: str | None, indent: int) -> list[str]:
    """A text as lines of at most `WIDTH` characters; its own lines stay, and their indentation."""
    lines = []
    for line in printable(text or "").expandtabs(4).split("\n"):
        own = " " * min(len(line) - len(line.lstrip()), 40)
        pieces = textwrap.wrap(
            line.strip(),
            width=max(20, WIDTH - indent - len(own)),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += [" " * indent + own + piece for piece in pieces] or [""]
    return lines


def field(name: str, value: Any, indent: int = 2, width: int = 14) -> list[str]:
    """A name with its value beside it, wrapped under itself; nothing for None and empty text."""
    if value is None or value == "":
        return []
    first, *rest = block(" ".join(str(value).split()), indent + width)
    return [f"{' ' * indent}{name:<{width - 1}} {first.strip()}", *rest]


def heading(text: str) -> list[str]:
    """A heading with a line under it and an empty line before it."""
    shown = printable(text)
    return ["", shown, "-" * min(len(shown), WIDTH)]


def numbers(values: dict[str, float | None] | None) -> str:
    """Named numbers in one line: ``words 31, mean_word_length 4.9``."""
    return ", ".join(f"{name} {number(value)}" for name, value in sorted((values or {}).items()))


def number(value: float | None) -> str:
    """A number as people write it; a dash for none."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def short(key: str | None) -> str:
    """The beginning of a key, enough to name it to `show`."""
    return (key or "-")[:12]


def clipped(text: str | None, length: int) -> str:
    """A text on one line, cut to a length."""
    line = " ".join(printable(text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def joined(lines: Iterable[str]) -> str:
    """Lines as one text, without trailing spaces and without two empty lines in a row."""
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1]):
            kept.append(line.rstrip())
    return "\n".join(kept).strip("\n")
