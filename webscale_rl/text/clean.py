"""Text normalisation inside a Python worker."""

from __future__ import annotations

import re
import unicodedata

# Control characters but tab and line feed; also the null byte, DEL, C1, the byte order mark and the
# non-characters that decoders leave behind.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")
_LINE_ENDS = re.compile("\r\n|\r|\x0b|\x0c|\x85|\u2028|\u2029")
# Tried at the first character of a run only: at each of them it would take the square of their number.
_TRAILING = re.compile(r"(?<![ \t])[ \t]++\n")
# Soft hyphen, zero-width space, word joiner, byte order mark.
_INVISIBLE = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))
_MANY_EMPTY = re.compile(r"\n{4,}")
_MARKS = "".join(chr(code) for code in range(0x20000) if unicodedata.combining(chr(code)))
_MANY_MARKS = re.compile(f"[{_MARKS}]{{32,}}")


def normalise_text(text: str) -> str:
    """The text in NFC, line ends as line feeds, without control characters and outer space.

    The indentation of the first line stays. Idempotent: a normalised text comes back as it is.
    """
    text = _LINE_ENDS.sub("\n", text)
    text = _CONTROL.sub("", text)
    text = unicodedata.normalize("NFC", ordered_marks(text))
    text = _TRAILING.sub("\n", text)
    text = _MANY_EMPTY.sub("\n\n\n", text).rstrip()
    begin = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, begin) + 1 :]


def ordered_marks(text: str) -> str:
    """The text with its long runs of combining marks in canonical order; its normal forms are the same.

    To be called before `unicodedata.normalize`, which orders a run in the square of its length.
    """
    if text.isascii():
        return text
    return _MANY_MARKS.sub(lambda run: "".join(sorted(run[0], key=unicodedata.combining)), text)


def comparable_text(text: str) -> str:
    """NFC, without soft hyphens and other characters that nobody sees: what texts are compared by."""
    return unicodedata.normalize("NFC", ordered_marks(text.translate(_INVISIBLE)))
