"""Splits text into sentences by readable rules: abbreviations, initials, decimals, list items."""

from __future__ import annotations

import re
from functools import lru_cache

from webscale_rl.text.wordlists import word_set

#: Marks that end a sentence where white space follows, and those that need none.
STOPS, WIDE_STOPS = ".!?…", "。！？"
#: A sentence's end with its closing quotes and brackets, in Python and in columns. A run of stops is tried at
#: its first only: at each of them it would take the square of its length.
STOP = rf"(?<![{STOPS}])[{STOPS}]++[\"'”’»“‘«)\]]*+(?=\s)|[{WIDE_STOPS}]++[」』”’）]*+"

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
    but and or so then thus however both all some many most each every another one two three four five six
    seven eight nine ten no not never always what who why how which""")
_INITIALS = re.compile(r"[A-ZÀ-ÖØ-Þ]|[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+")
_NUMERAL = re.compile(r"[A-Z]|[IVXLC]+")
# What stands before a heading or an item, where its line begins: "1.", "2.3.", "IV."
_LABEL = re.compile(r"\d{1,2}(?:\.\d{1,2}){0,3}|[IVXLC]{1,6}")
_LAST_WORD = re.compile(r"(?<![\w.°])[\d_.]*+([^\W\d_][\w.]*+)\Z")
# The longest of these words, with a dash or two before it.
_LAST_WORD_CHARACTERS = 12
# Behind white space and a few opening signs.
_NEXT_WORD = re.compile(rf"\s*+(?:_|[^\w{STOPS}]){{0,8}}+(\w[^\W\d_]*+)(\.?)")
_STOP = re.compile(STOP)
_BLOCK = re.compile(r"(?<![^\S\n])[^\S\n]*+\n(?:[^\S\n]*+\n)+|\n(?=[^\S\n]*+(?:[-*•–#]|\d+[.)])\s)")
_SPACE = re.compile(r"\s*+")


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence, in order, without surrounding white space.

    Copes with abbreviations, initials, decimals and list items; a blank line always ends a sentence, and so
    does the line end before a list item, no other one does. Text without sentence marks is one sentence.
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


@lru_cache(maxsize=64)
def sentences_of_lines(text: str) -> tuple[str, ...]:
    """The sentences of a text where every line end ends one: a heading is one of its own."""
    return tuple(line[start:end] for line in text.split("\n") for start, end in sentences(line))


def _ends_sentence(text: str, start: int, stop: re.Match[str], block_end: int) -> bool:
    """Whether the sentence that began at `start` ends with a stop."""
    if stop[0][0] in WIDE_STOPS:
        return True
    following = _NEXT_WORD.match(text, stop.end(), block_end)
    # A small letter goes on with the sentence ("e.g. this", "why? he said"), where its script has capitals.
    if following is None or following[1][0] != following[1][0].title():
        return False
    if stop[0] != ".":
        return True
    if _LABEL.fullmatch(text, start, stop.start()) and _begins_line(text, start):
        return False
    return not _is_abbreviation(text, stop.start(), following)


def _is_abbreviation(text: str, stop: int, following: re.Match[str]) -> bool:
    """Whether a full stop belongs to the word before it and ends no sentence: "Mt.", "U.S.", "J."."""
    before = _LAST_WORD.search(text, max(0, stop - _LAST_WORD_CHARACTERS), stop)
    if before is None:
        return False
    word, after = before[1], following[1]
    lower = word.lower() if len(word) > 1 else word  # "b. 1900" is no initial
    if lower in _TITLES:
        return True
    if lower in _NUMBERED:
        return after.isdecimal() or _NUMERAL.fullmatch(after) is not None
    if lower not in _SHORT and not _INITIALS.fullmatch(word):
        return False
    if len(word) == 1 and word != "I" and _begins(text, before.start(1)):
        return True  # "A. By no means." behind a question, or a list's "B."
    # "J. A. Smith" has no sentence that begins with "A".
    return bool(following[2]) or not (after[0].isupper() and after.lower() in _BEGINNING)


def _begins(text: str, start: int) -> bool:
    """Whether nothing but a mark that ends a sentence, or a line end, stands before a place."""
    before = _before(text, start)
    return not before or before in f"\n{STOPS}:"


def _begins_line(text: str, start: int) -> bool:
    return _before(text, start) in ("", "\n")


def _before(text: str, start: int) -> str:
    """The last character before a place that is no white space but a line end; "" if there is none."""
    while start and text[start - 1].isspace() and text[start - 1] != "\n":
        start -= 1
    return text[start - 1 : start] if start else ""


def _skipped(text: str, start: int, end: int) -> int:
    """Where the first character that is no white space stands."""
    space = _SPACE.match(text, start, end)
    return space.end() if space else start


def _add(found: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Add a sentence that begins at its first character, without the white space at its end."""
    piece = text[start:end].rstrip()
    if piece:
        found.append((start, start + len(piece)))
