"""The shapes of answers: which text has which, and a best guess for a text."""

from __future__ import annotations

import re
from collections.abc import Callable

from webscale_rl.answers.dates import find_dates, is_date
from webscale_rl.answers.quantities import SCALES, find_quantities
from webscale_rl.text.normalise import fold, words
from webscale_rl.text.units import UNITS
from webscale_rl.text.wordlists import (
    ARTICLES,
    AUXILIARIES,
    HEDGES,
    NO_WORDS,
    PREPOSITIONS,
    SMALL_NUMBERS,
    TENS,
    YES_WORDS,
)

NUMBER = "number"
DATE = "date"
NAME = "name"
SPAN = "span"
FORMULA = "formula"
LIST = "list"
MULTIPLE_CHOICE = "multiple_choice"
YES_NO = "yes_no"

#: No answer is longer; what is, conforms to no type, and is compared as it stands.
MAX_CHARACTERS = 2000

_BEFORE_NUMBERS = HEDGES | ARTICLES | {"between", "from", "minus", "plus", "total", "of", "to", "in", "for"}
_AMOUNTS = frozenset(SCALES) | {"half", "quarter", "third", "once", "twice", "thrice"}
#: Longest answers in words, by the name of the type.
MAX_WORDS = {NUMBER: 10, DATE: 10, NAME: 10, SPAN: 25}

_LETTER = re.compile(
    r"(?:\s*(?:option|answer|choice))?\s*[(\[]?([A-J])(?:[)\].:]+(?:\s+|$)|\s+-\s+|$)(.*)", re.S | re.I
)
_OPERATOR = re.compile(
    r"[=+*^<>≤≥≠≈√∑∏∫∂π×·⋅÷±→∞∈∪∩²³⁰-⁹₀-₉\\]"
    # Minus and slash are punctuation, too ("well-known", "and/or"): not between two words.
    # A run of digits and stops is tried once: from its beginning, or behind a stop where a word goes before.
    r"|(?:(?<![\d.])(?:(?<![\w'])|\d*+\.(?=[\d.]))[\d.]++|(?<![\w'])[^\W\d_]|\))"
    r"\s*[-−/]\s*(?:[\d.]+|[^\W\d_])?(?![\w'])"
)
_FUNCTION = re.compile(r"\b[A-Za-z]\w*\([^()]*\)")
_ELEMENTS = (
    "A[cglmr-u]|B[aehikr]?|C[adeflmnorsu]?|D[bsy]|E[rsu]|F[elmr]?|G[ade]|H[efgos]?|I[nr]?|Kr?|"
    "L[airuv]|M[cdgnot]|N[abdehiop]?|O[gs]?|P[abdmortu]?|R[abe-hnu]|S[bcegimnr]?|T[abcehilms]|U|V|"
    "W|Xe|Yb?|Z[nr]"
)
_CHEMICAL = re.compile(rf"(?:\d*(?:\(?(?:{_ELEMENTS})\d*(?:\)\d*)?)+[+-]?)")
_SEPARATOR_STRONG = re.compile(r"(?:(?<!\s)\s+)?[;\n]\s*")
_SEPARATOR_WEAK = re.compile(r"(?:(?<!\s)\s+)?,\s+(?:(?:and|or|&)\s+)?|(?<!\s)\s+(?:and|or|&)\s+", re.I)
# Bars between three items or more part them. Others do where they stand apart, or between words; those of
# formulas and code do not (|x|, a || b).
_BAR_APART = re.compile(r"(?<!\S)\|(?!\S)|(?<=[^\W\d_]{2})\|(?=[^\W\d_]{2})")
_BAR_NEAR = re.compile(r"(?<!\S)\||\|(?!\S)")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+", re.I)


def option_of(answer: str) -> tuple[str, str]:
    """The letter (upper case) and the text of a multiple-choice answer; "" for what is missing."""
    match = _LETTER.fullmatch(answer.strip())
    if match:
        return match[1].upper(), match[2].strip()
    return "", answer.strip()


def split_items(answer: str) -> list[str]:
    """The items of a list: split at semicolons, line ends and bars if any, else at commas and "and"."""
    text = answer[:MAX_CHARACTERS].strip().strip("[]")
    strong = [part for part in _SEPARATOR_STRONG.split(_bars_parted(text)) if part.strip()]
    parts = strong if len(strong) > 1 else _SEPARATOR_WEAK.split(text)
    items = (_BULLET.sub("", part).strip(" .,'\"{}") for part in parts)
    return [re.sub(r"^(?:and|or|&)\s+", "", item, flags=re.I) for item in items if words(item)]


def _bars_parted(text: str) -> str:
    """The text with a line end for each bar that parts items."""
    bars = _bars(text)
    parts = [text[a + 1 : b] for a, b in zip([-1, *bars], [*bars, len(text)], strict=True)]
    between = all(part.strip() for part in parts)  # unlike those of |x| and a || b
    if not between or len(bars) == 1:
        bars = [
            bar for bar in bars if _BAR_APART.match(text, bar) or (between and _BAR_NEAR.match(text, bar))
        ]
    signs = list(text)
    for bar in bars:
        signs[bar] = "\n"
    return "".join(signs)


def _bars(text: str) -> list[int]:
    """Where bars stand outside brackets: P(A | B) has none. A bracket alone is none ("a) red")."""
    found: list[int] = []
    opened: list[tuple[str, int]] = []
    for place, sign in enumerate(text):
        if sign == "|":
            found.append(place)
        elif sign in _CLOSING:
            opened.append((_CLOSING[sign], len(found)))
        elif opened and sign == opened[-1][0]:
            del found[opened.pop()[1] :]
    return found


def first_yes_no(answer: str) -> bool | None:
    """True or False by the first word of a yes/no answer, None if it is neither."""
    found = words(answer)
    if not found:
        return None
    return True if found[0] in YES_WORDS else False if found[0] in NO_WORDS else None


def detect(answer: str) -> str:
    """The likeliest type of an answer; `span` where nothing more special fits."""
    found = words(answer[:MAX_CHARACTERS])
    if not found or len(answer) > MAX_CHARACTERS:
        return SPAN
    if first_yes_no(answer) is not None and (len(found) == 1 or re.match(r"\s*\w+\s*[,.;:]", answer)):
        return YES_NO
    # A letter with a full stop is as likely an initial ("C. elegans", "G. H. Hardy").
    if re.match(r"\s*(?:[(\[]?[A-Ja-j][)\]]|[A-J][:]?\s*$)", answer):
        return MULTIPLE_CHOICE
    if is_date(answer):
        return DATE
    if len(found) <= (3 if found[0] == "the" else 6) and _is_number(answer, found):
        return NUMBER
    if re.search(r"[=^√∑∫≤≥→²³]|\\[a-z]", answer) or (
        _is_formula(answer) and len(found) <= 4 and not answer.isupper()
    ):
        return FORMULA
    items = split_items(answer)
    if len(items) >= 3 or (len(items) == 2 and re.search(r"[;\n]", answer)):
        return LIST
    return NAME if len(found) <= MAX_WORDS[NAME] and _looks_named(answer, found) else SPAN


def _is_number(answer: str, found: list[str]) -> bool:
    if re.match(r"\s*[^\W\d_]\s*=\s*[-+−]?\d[\d.,/]*\s*$", answer):  # "x = 5"
        return True
    if "=" in answer or not find_quantities(answer) or any(date.month for date in find_dates(answer)):
        return False
    first = next((word for word in found if word not in _BEFORE_NUMBERS), "")
    # "1980s" and "15th" stand for numbers as well; "3d" and "4x4" are accepted with them.
    return first[:1].isdecimal() or first in SMALL_NUMBERS or first in TENS or first in _AMOUNTS


def _is_dated(answer: str) -> bool:
    if is_date(answer):
        return True
    measured = any(quantity.unit in UNITS for quantity in find_quantities(answer))
    return bool(find_dates(answer)) and not measured


def _is_name(answer: str, found: list[str]) -> bool:
    if all(word[:1].isdecimal() for word in found) or first_yes_no(answer) is not None:
        return False
    letters = [character for character in answer if character.isalpha()]
    cased = [character for character in letters if character.lower() != character.upper()]
    return bool(letters) and (not cased or any(character.isupper() for character in cased))


def _looks_named(answer: str, found: list[str]) -> bool:
    """Capitals in more than half of the longer words."""
    if not _is_name(answer, found):
        return False
    small = AUXILIARIES | PREPOSITIONS
    parts = re.findall(r"[^\W_][\w'’.-]*", answer)
    big = [part for part in parts if fold(part) not in small and len(part) > 2] or parts
    capital = [part for part in big if any(c.isupper() for c in part) or part.lower() == part.upper()]
    return 2 * len(capital) > len(big)


def _is_formula(answer: str) -> bool:
    text = answer.strip()
    if _OPERATOR.search(text) or _FUNCTION.search(text):
        return True
    chemical = _CHEMICAL.fullmatch(text) is not None
    return chemical and (any(c.isdigit() for c in text) or sum(c.isupper() for c in text) > 1)


#: Whether a text has the shape of an answer, by the name of the type. A number holds a number, perhaps with a
#: unit; a date is a year or more or less; a name has a capital (or a script without case); a list has two
#: items or more; a formula has an operator, a function or is chemical.
SHAPES: dict[str, Callable[[str], bool]] = {
    NUMBER: lambda answer: _is_number(answer, words(answer)),
    DATE: _is_dated,
    NAME: lambda answer: _is_name(answer, words(answer)),
    SPAN: lambda answer: True,
    FORMULA: _is_formula,
    LIST: lambda answer: len(split_items(answer)) >= 2,
    MULTIPLE_CHOICE: lambda answer: bool(option_of(answer)[0]),
    YES_NO: lambda answer: first_yes_no(answer) is not None,
}
