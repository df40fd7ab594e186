"""Bare definites: "the bridge", "the results" in a question that does not say which.

Stricter than the gate dangling_reference, which lets a question pass as soon as it holds a name: a very
small model writes "Who designed the bridge in 1869?" from a passage that has named the bridge long
before, and no name elsewhere in the question tells which one is meant.
"""

from __future__ import annotations

import re

from webscale_rl.text.wordlists import AUXILIARIES, PREPOSITIONS, STOP_WORDS

# There is one of each, or everybody knows which is meant.
_KNOWN = frozenset(
    re.findall(
        r"\S+",
        "sun moon earth world internet universe sky sea ocean equator atmosphere past future "
        "present public north south east west heart brain blood liver skin eye stomach "
        "alphabet economy law state web poles poor rich dead young elderly",
    )
)
# Behind a noun these say which one is meant ("the tower of Genoa", "the year that ...").
_EXPLAINING = frozenset({"of", "that", "which", "who", "whose", "where", "called", "named", "for"})
# Before a noun these do not.
_ORDINALS = frozenset(
    re.findall(
        r"\S+",
        "first second third fourth fifth last next final new old original same whole entire "
        "main other two three four five six",
    )
)
_ENDS = STOP_WORDS | PREPOSITIONS | AUXILIARIES
_TOKEN = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")


def bare_definite(question: str) -> str | None:
    """The first noun that stands bare behind "the", or None.

    Only a single noun counts, with no name, number or further word that says which: "the bridge?",
    "the third tower between", but not "the Brooklyn Bridge", "the slide rule", "the bridge of Mostar".
    """
    tokens = _TOKEN.findall(question)
    lower = [token.lower() for token in tokens]
    for place, word in enumerate(lower[:-1]):
        if word != "the":
            continue
        at = place + 1
        while at + 1 < len(lower) and lower[at] in _ORDINALS:
            at += 1
        noun = lower[at]
        if not tokens[at].isalpha() or not tokens[at].islower() or noun in _KNOWN or noun in _ENDS:
            continue
        if noun.endswith("est") and len(noun) > 4:
            continue
        behind = lower[at + 1] if at + 1 < len(lower) else ""
        if behind in _EXPLAINING:
            continue
        if behind == "between" and at + 2 < len(lower) and not lower[at + 2][0].isdigit():
            continue
        if not behind or behind in _ENDS:
            return noun
    return None
