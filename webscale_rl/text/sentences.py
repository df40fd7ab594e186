"""Splits text into sentences by readable rules: abbreviations, initials, decimals, list items."""

from __future__ import annotations

import re

from webscale_rl.text.wordlists import word_set

# Abbreviations with a full stop of their own, which never end a sentence.
_NEVER_LAST = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof st mt ft gen col capt lt sgt rev hon gov sen rep pres vs e.g i.e cf fig figs "
        "eq no nos vol pp p ch sec approx ca c al jan feb mar apr jun jul aug sept sep oct nov dec",
    )
)
# Before the name that they belong to: no sentence ends behind one.
_TITLES = word_set("""
    mr mrs ms mme mlle messrs dr prof rev fr hon rt gov sen rep pres gen col capt cpl cmdr lt sgt maj adm
    pvt supt mt e.g i.e cf vs viz""")
# Before a number, or a letter that stands for one ("Fig. B", "vol. IV"); else the words that they look like.
_NUMBERED = word_set("no nos art ch chap fig figs eq eqs vol vols p pp op b d r fl")
# A sentence may end behind these, and behind initials and dotted letters ("U.S.", "p.m."). It does where a
# word follows that begins a sentence and no name.
_SHORT = word_set("""
    st ft approx al ca c est etc ed eds sec dept univ inc co corp ltd jr sr jan feb mar apr jun jul aug sep
    sept oct nov dec""")
_BEGINNING = word_set("""
    the a an it he she they we you this that these those there here his her its their our my in on at by
    for from with without when while where after before since during until as if although though because
    but and or so then thus however both all some many most each every another one no not what who why how
    which""")
_INITIALS = re.compile(r"[A-ZÀ-ÖØ-Þ]|[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+")
_NEXT_WORD = re.compile(r"[\"'“‘(\[«]*+(?:([^\W\d_]++)(?!\.)|(\d))?")
_NUMERAL = re.compile(r"[A-Z]|[IVXLC]+")
# A run of dots or spaces is tried at its first only: at each of them it would take the square of its length.
_STOP = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+(?=\s|$)|[。！？]+[」』”’）]*")
_BLOCK = re.compile(r"(?<![^\S\n])[^\S\n]*+\n(?:[^\S\n]*+\n)+|\n(?=[^\S\n]*+(?:[-*•–#]|\d+[.)])\s)")
_OPENS = re.compile(r"\s*+[\"'“‘(\[]*+[^\W_a-zß-öø-ÿ]")
_SPACE = re.compile(r"\s*+")


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
        start = _skipped(text, start, block_end)
        for stop in _STOP.finditer(text, start, block_end):
            if _ends_sentence(text, start, stop, block_end):
                _add(found, text, start, stop.end())
                start = _skipped(text, stop.end(), block_end)
        _add(found, text, start, block_end)
        start = next_start
    return found


def is_abbreviation(text: str, start: int, end: int, following: int) -> bool:
    """Whether a full stop belongs to the word before it and ends no sentence.

    Args:
        start, end: the word before the stop, without the stop: "Mt", "U.S", "J".
        following: where the next word begins, with its opening quotes and brackets.
    """
    word = text[start:end]
    lower = word.lower() if len(word) > 1 else word  # "b. 1900" is no initial
    found = _NEXT_WORD.match(text, following)
    letters, digit = (found[1] or "", found[2]) if found else ("", None)
    if lower in _TITLES:
        return True
    if lower in _NUMBERED:
        return digit is not None or _NUMERAL.fullmatch(letters) is not None
    if lower not in _SHORT and not _INITIALS.fullmatch(word):
        return False
    if len(word) == 1 and _begins(text, start):
        return True  # "A. By no means." behind a question, or a list's "B."
    return not (letters[:1].isupper() and letters.lower() in _BEGINNING)


def _begins(text: str, start: int) -> bool:
    """Whether nothing but a mark that ends a sentence, or a line end, stands before a place."""
    while start and text[start - 1].isspace():
        if text[start - 1] == "\n":
            return True
        start -= 1
    return not start or text[start - 1] in ".!?…:"


def _skipped(text: str, start: int, end: int) -> int:
    """Where the first character that is no white space stands."""
    space = _SPACE.match(text, start, end)
    return space.end() if space else start


def _ends_sentence(text: str, start: int, stop: re.Match[str], block_end: int) -> bool:
    if _skipped(text, stop.end(), block_end) == block_end or stop[0][0] in "。！？":
        return True
    if not _OPENS.match(text, stop.end(), block_end):
        return False
    if stop[0] != ".":
        return True
    begin, end = _last_word(text, start, stop.start())
    word = text[begin:end].lstrip("(\"'“‘[")
    is_first = begin == start
    if re.fullmatch(r"[A-Z]|(?:[A-Z]\.)+[A-Z]", word) and word not in ("U.S", "U.K"):
        return not is_first and word == "I"  # an initial: J. S. Bach
    if re.fullmatch(r"\d{1,2}", word) and is_first:
        return False  # the number of a list item
    return word.lower() not in _NEVER_LAST


def _last_word(text: str, start: int, end: int) -> tuple[int, int]:
    """Start and end of the last word before a place, looked for from there."""
    while end > start and text[end - 1].isspace():
        end -= 1
    begin = end
    while begin > start and not text[begin - 1].isspace():
        begin -= 1
    return begin, end


def _add(found: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Add a sentence that begins at its first character, without the white space at its end."""
    piece = text[start:end].rstrip()
    if piece:
        found.append((start, start + len(piece)))
