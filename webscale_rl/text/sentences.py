"""Splits text into sentences by readable rules: abbreviations, initials, decimals, list items."""

from __future__ import annotations

import re

# Abbreviations with a full stop of their own, which never end a sentence.
_NEVER_LAST = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof st mt ft gen col capt lt sgt rev hon gov sen rep pres vs e.g i.e cf fig figs "
        "eq no nos vol pp p ch sec approx ca c al jan feb mar apr jun jul aug sept sep oct nov dec",
    )
)
_STOP = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[」』”’）]*")
_BLOCK = re.compile(r"[^\S\n]*\n(?:[^\S\n]*\n)+|\n(?=[^\S\n]*(?:[-*•–#]|\d+[.)])\s)")
_OPENS = re.compile(r"\s*[\"'“‘(\[]*[^\W_a-zß-öø-ÿ]")


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, in order, without surrounding white space.

    Copes with abbreviations, initials, decimals and list items; a blank line always ends a sentence,
    a single line end never does. Text without sentence marks is one sentence.
    """
    found: list[tuple[int, int]] = []
    start = 0
    for block_end, next_start in [
        *((m.start(), m.end()) for m in _BLOCK.finditer(text)),
        (len(text), 0),
    ]:
        for stop in _STOP.finditer(text, start, block_end):
            if _ends_sentence(text, start, stop, block_end):
                _add(found, text, start, stop.end())
                start = stop.end()
        _add(found, text, start, block_end)
        start = next_start
    return found


def _ends_sentence(text: str, start: int, stop: re.Match[str], block_end: int) -> bool:
    rest = text[stop.end() : block_end]
    if not rest.strip() or stop[0][0] in "。！？":
        return True
    if not _OPENS.match(rest):
        return False
    if stop[0] != ".":
        return True
    before = text[start : stop.start()].rsplit(None, 1)
    word = before[-1].lstrip("(\"'“‘[") if before else ""
    if re.fullmatch(r"[A-Z]|(?:[A-Z]\.)+[A-Z]", word) and word not in ("U.S", "U.K"):
        return len(before) > 1 and word == "I"  # an initial: J. S. Bach
    if re.fullmatch(r"\d{1,2}", word) and len(before) == 1:
        return False  # the number of a list item
    return word.lower() not in _NEVER_LAST


def _add(found: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    if piece.strip():
        left = len(piece) - len(piece.lstrip())
        found.append((start + left, start + len(piece.rstrip())))
