"""Whether two texts name the same person, place or organisation."""

from __future__ import annotations

import re

from webscale_rl.text.normalise import fold, strip_accents, words
from webscale_rl.text.wordlists import (
    ARTICLES,
    COMPANY_SUFFIXES,
    DISTINGUISHING,
    INSTITUTIONS,
    NAME_PARTICLES,
    NAME_SUFFIXES,
    PLACE_WORDS,
    PREPOSITIONS,
    TITLES,
)

_ROMAN = re.compile(r"[ivx]{1,5}")
_ALIASES = {
    "us": "united states",
    "usa": "united states",
    "united states of america": "united states",
    "uk": "united kingdom",
    "uae": "united arab emirates",
    "eu": "european union",
    "un": "united nations",
}


def name_agreement(a: str, b: str) -> float:
    """How sure two texts name the same, 0 (they do not) to 1 (the same words). Symmetric.

    Titles, accents, company suffixes and words such as "River" do not count. A given name may be
    left out or be an initial; the family name, and the number of a king, must be there and agree.
    "Otto Hahn" is "Hahn" and "O. Hahn", neither "Otto Stern" nor "Otto". A leading description
    ("the physicist Lev Termen") and a place behind a comma are ignored where only one side has one.
    """
    left, right = _core(a), _core(b)
    if not left or not right:
        return 0.0
    if left == right:
        return 1.0
    if _alias(left) == _alias(right):
        return 0.95
    if _acronym_of(a, right) or _acronym_of(b, left):
        return 0.85
    if _same_person(left, right):
        return 0.9
    for plain_a, plain_b in ((_undescribed(a), b), (a, _undescribed(b))):
        core_a, core_b = _core(plain_a), _core(plain_b)
        if core_a and core_b and (core_a == core_b or _same_person(core_a, core_b)):
            return 0.8
    return 0.0


def _core(text: str) -> list[str]:
    """The words of a name without articles, titles, suffixes and generic words around it."""
    text = re.sub(r"(?<=\b[A-Z])\.(?=[A-Z]\b)", "", text)  # U.S. is one word, J. K. are two
    found = [word.removesuffix("'s").replace("'", "") for word in words(strip_accents(fold(text)))]
    found = [word for word in found if word]
    first, end = 0, len(found)
    while end - first > 1 and (found[first] in TITLES or found[first] in ARTICLES):
        first += 1
    while end - first > 1 and (found[end - 1] in NAME_SUFFIXES or found[end - 1] in COMPANY_SUFFIXES):
        end -= 1
    found = found[first:end]
    if len(found) > 2 and found[0] in PLACE_WORDS and found[1] == "of":
        found = found[2:]
    elif len(found) > 1 and found[0] in PLACE_WORDS:
        found = found[1:]
    elif len(found) > 1 and found[-1] in PLACE_WORDS:
        found = found[:-1]
    return found


def _alias(found: list[str]) -> str:
    plain = " ".join(found)
    return _ALIASES.get(plain, plain)


def _acronym_of(short: str, long: list[str]) -> bool:
    """Whether the text is the acronym of the words ("WHO", "World Health Organization")."""
    letters = re.sub(r"[.\s]", "", short.strip().removeprefix("the ").removeprefix("The "))
    if not (2 <= len(letters) <= 6 and letters.isalpha() and letters.isupper()):
        return False
    with_all = "".join(word[0] for word in long)
    without = "".join(word[0] for word in long if word not in NAME_PARTICLES and word not in PREPOSITIONS)
    return len(long) > 1 and letters.lower() in (with_all, without)


def _same_person(left: list[str], right: list[str]) -> bool:
    """Family names equal, what both give before them compatible."""
    shorter, longer = sorted((left, right), key=len)
    left_number, right_number = _number_of(left), _number_of(right)
    if left_number != right_number:
        return False
    if left_number:
        shorter, longer = shorter[:-1], longer[:-1]
    if not shorter or shorter[-1] != longer[-1] or len(shorter[-1]) < 2:
        return False
    before, more = shorter[:-1], longer[:-1]
    if set(more) & (DISTINGUISHING | INSTITUTIONS) - set(before) or longer[-1] in INSTITUTIONS:
        return False
    if {"of", "and", "for"} & set(more) - set(before):
        return False
    if not before:
        return True
    if not _compatible(before[0], more[0]):
        return False
    middle, middle_more = before[1:], more[1:]
    if not middle or not middle_more:
        return True
    return len(middle) == len(middle_more) and all(map(_compatible, middle, middle_more))


def _number_of(found: list[str]) -> str:
    last = found[-1]
    return last if len(found) > 1 and (_ROMAN.fullmatch(last) or last.isdecimal()) else ""


def _compatible(a: str, b: str) -> bool:
    """Equal, or one is the initial of the other (or several initials written as one word)."""
    return a == b or (1 in (len(a), len(b)) and a[:1] == b[:1])


def _undescribed(text: str) -> str:
    """The name alone: without a description before it, a place or an apposition behind it."""
    plain = " ".join(text.split())
    text = re.split(r",\s|\s\(|\s(?:in|at|from|near)\s(?=[A-Z])|\s(?:who|which|that)\s", plain)[0]
    parts = text.split()
    small = [
        place
        for place, part in enumerate(parts)
        if part[:1].islower() and fold(part) not in NAME_PARTICLES | {"and"}
    ]
    if small and small[-1] + 1 < len(parts):
        behind = parts[small[-1] + 1 :]
        return " ".join(behind)
    return text
