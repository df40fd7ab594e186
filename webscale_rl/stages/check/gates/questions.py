"""How a question is built: its question word, its names, and what answer it asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from webscale_rl.answers.dates import find_dates
from webscale_rl.answers.quantities import find_quantities
from webscale_rl.answers.types import (
    DATE,
    FORMULA,
    LIST,
    MULTIPLE_CHOICE,
    NAME,
    NUMBER,
    SPAN,
    YES_NO,
    detect,
    first_yes_no,
)
from webscale_rl.text.normalise import fold, words
from webscale_rl.text.wordlists import (
    AUXILIARIES,
    MONTHS,
    PREPOSITIONS,
    QUESTION_WORDS,
    STOP_WORDS,
    WEEKDAYS,
    word_set,
)

_IMPERATIVES = word_set("""
    calculate choose classify complete compute convert define derive describe determine estimate
    evaluate explain express factor find give identify list name order prove select show simplify
    solve state translate write
    """)
_MAX_CHARACTERS = 4000
_TOKEN = re.compile(r"[^\W_][\w'’.&-]*[\w]|[^\W_]|[?,;:]")


@dataclass(frozen=True)
class Question:
    """A question taken apart.

    Attributes:
        tokens: its words as written, commas and the like as tokens of their own.
        lower: the same, folded.
        word: the question word with what makes it special: "who", "when", "where", "why",
            "how many", "how much", "how long", "how", "what", "which", "yes_no" for an inverted
            sentence, "" where there is none.
        head: the noun asked for ("year" in "In what year"), "" if none.
        names: the capitalised words inside and what stands in quotation marks, in order.
        name_places: the indices of the names in `tokens`.
    """

    tokens: tuple[str, ...]
    lower: tuple[str, ...]
    word: str
    head: str
    names: tuple[str, ...]
    name_places: tuple[int, ...]


def question_word(text: str) -> str:
    """The question word of a question, see `Question.word`."""
    return read_question(text).word


def is_asking(text: str) -> bool:
    """Whether a text ends with a question mark (of any script) or is an instruction to answer."""
    stripped = text.strip().rstrip("\"'”’)»")
    if stripped.endswith(("?", "？", "؟", "⁇", "⁈")):
        return True
    found = words(text)
    return bool(found) and found[0] in _IMPERATIVES


@lru_cache(maxsize=1024)
def read_question(text: str) -> Question:
    """Take a question apart."""
    tokens = tuple(_TOKEN.findall(text[:_MAX_CHARACTERS]))
    lower = tuple(fold(token) for token in tokens)
    word, head = _question_word(lower)
    places = tuple(i for i in range(len(tokens)) if _is_name(tokens, lower, i))
    return Question(tokens, lower, word, head, tuple(tokens[i] for i in places), places)


_MEASURES = {
    "long", "often", "far", "high", "tall", "old", "big", "large", "fast", "quickly", "deep",
    "heavy", "wide", "hot", "cold", "strong", "thick", "frequently", "soon", "late", "early",
}  # fmt: skip
_TIME_HEADS = {"year", "years", "date", "day", "month", "century", "decade", "season", "weekday"}


def _question_word(lower: tuple[str, ...]) -> tuple[str, str]:
    for place, word in enumerate(lower[:-1] if len(lower) > 1 else lower):
        if word not in QUESTION_WORDS or word == "whether":
            continue
        following = lower[place + 1] if place + 1 < len(lower) else ""
        # Only at the beginning, behind a preposition or behind a comma does it ask.
        leading = all(w in PREPOSITIONS or w in STOP_WORDS for w in lower[:place])
        if not (place == 0 or leading or lower[place - 1] in PREPOSITIONS | {","}):
            continue
        if lower[0] in AUXILIARIES:
            break  # "Did Curie know where ..." is a yes/no question
        if word in ("whom", "whose"):
            return "who", ""
        if word == "how":
            if following in ("many", "much"):
                counted = lower[place + 2] if place + 2 < len(lower) else ""
                head = counted if counted not in STOP_WORDS else ""
                return f"how {following}", head
            return ("how long" if following in _MEASURES else "how"), ""
        if word in ("what", "which"):
            head = following if following not in STOP_WORDS else ""
            return word, head
        return word, ""
    return ("yes_no" if lower and lower[0] in AUXILIARIES else ""), ""


def _is_name(tokens: tuple[str, ...], lower: tuple[str, ...], place: int) -> bool:
    token, folded = tokens[place], lower[place]
    if not any(c.isupper() for c in token) or folded in MONTHS or folded in WEEKDAYS:
        return False
    if folded.removesuffix("'s") in ("i", "i'm", "i've"):
        return False
    if place == 0 or tokens[place - 1] in "?:":
        function_word = folded.removesuffix("'s") in STOP_WORDS | _IMPERATIVES
        next_is_name = place + 1 < len(tokens) and tokens[place + 1][:1].isupper()
        return not function_word and (next_is_name or not token[1:].islower())
    return not (folded in QUESTION_WORDS or (folded in AUXILIARIES and token[1:].islower()))


_TIME_WORDS = word_set("""
    after afternoon always annually around before during daily day days decade evening every first
    hourly hours last later minutes monthly months morning never night noon midnight often once
    season since spring summer autumn winter time twice until weekly weeks when while yearly years
    immediately ago today birth death age ages war century centuries
    """)
_COUNTLESS = word_set("half none no nobody all every zero twice once double")


def answer_fits_question_word(question: Question, answer: str, answer_type: str) -> bool:
    """Whether the answer is of the kind that the question word asks for.

    It looks at the declared type and at the answer itself, and lets pass what it cannot tell.
    """
    if answer_type == MULTIPLE_CHOICE:
        return True
    word, seen = question.word, detect(answer)
    found = set(words(answer))
    has_number = bool(find_quantities(answer))
    if word == "yes_no":
        return answer_type == YES_NO or "or" in question.lower
    if answer_type == YES_NO or (first_yes_no(answer) is not None and len(found) == 1):
        return word == ""
    if word == "who":
        return (answer_type in (NAME, LIST, SPAN) and seen not in (NUMBER, DATE, FORMULA)) or (
            seen == FORMULA and answer_type == NAME
        )
    if word == "when" or (word in ("what", "which") and question.head in _TIME_HEADS):
        return bool(find_dates(answer)) or has_number or bool(found & _TIME_WORDS)
    if word in ("how many", "how much"):
        return has_number or bool(found & _COUNTLESS) or "%" in answer
    if word == "how long":
        return has_number or bool(found & (_TIME_WORDS | _COUNTLESS)) or answer_type == FORMULA
    if word == "where":
        return answer_type in (NAME, SPAN, LIST) and seen not in (NUMBER, DATE)
    if word == "why":
        # A lone name, number or date is no reason; a clause may well begin with one.
        return answer_type in (SPAN, LIST, FORMULA) and len(found) >= 2 and seen not in (NUMBER, DATE)
    if word == "how":
        return seen not in (DATE,) or answer_type != DATE
    return True
