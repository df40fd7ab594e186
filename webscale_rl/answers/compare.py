"""Whether two answers to the same question agree, by a comparison fit for the answer's type.

The round trip of the check stage asks here whether the answer that a model gave from the passage is
the answer that the pair claims. Agreement is meant to be strict on what carries the content
(numbers, units, family names, negations) and lenient on how it is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from webscale_rl.answers.dates import find_dates
from webscale_rl.answers.names import name_agreement
from webscale_rl.answers.quantities import Quantity, find_quantities, same_quantity
from webscale_rl.answers.types import (
    DATE,
    FORMULA,
    LIST,
    MAX_CHARACTERS,
    MULTIPLE_CHOICE,
    NAME,
    NUMBER,
    SPAN,
    YES_NO,
    first_yes_no,
    option_of,
    split_items,
)
from webscale_rl.text.normalise import fold, normalise_answer, stem, words
from webscale_rl.text.wordlists import NEGATIONS, NON_ANSWERS

#: Spans agree from this token F1 on (the SQuAD measure, on stems and without articles).
SPAN_F1 = 0.8
#: A given answer this long is an explanation; its first number is not taken for the answer.
_MAX_WORDS_AROUND_NUMBER = 15


@dataclass(frozen=True)
class Agreement:
    """The outcome of one comparison.

    Attributes:
        agrees: whether both answers are the same.
        score: 0 to 1; 1 is the same normal form. Below agreement it says how near they came.
        method: the comparison that decided, e.g. `number`, `date`, `name`, `list_items`,
            `option_letter`, `span_f1`, `no_answer`.
    """

    agrees: bool
    score: float
    method: str


def guarded_agreement(expected: str, given: str, compare: Callable[[str, str], Agreement]) -> Agreement:
    """A comparison of two texts that are answers at all, and not too long for it."""
    if max(len(expected), len(given)) > MAX_CHARACTERS:
        same = normalise_answer(expected) == normalise_answer(given)
        return Agreement(same, float(same), "too_long")
    if is_non_answer(expected) or is_non_answer(given):
        return Agreement(False, 0.0, "no_answer")
    return compare(expected, given)


def is_non_answer(text: str) -> bool:
    """Whether a text declines to answer ("unanswerable", "not stated") or says nothing at all."""
    found = words(text)
    if not found:
        # A formula may be all signs; punctuation alone is nothing.
        return not any(unicodedata.category(c) in ("Sm", "So") for c in text)
    plain = " ".join(found)
    return plain in NON_ANSWERS or found[0] == "unanswerable" or _says_missing(plain)


# "The passage does not say": these in this order. One after the other, for as one pattern they would be tried
# in all their combinations.
_MISSING = (
    re.compile(r"\b(?:passage|text|document|context|article|paragraph)\b"),
    re.compile(r" (?:not|n't|doesn't|isn't)\b"),
    re.compile(r"\b(?:say|state|mention|specif\w*|provide\w*|contain\w*|answer\w*|give\w*|tell|include)\b"),
)


def _says_missing(plain: str) -> bool:
    at = 0
    for pattern in _MISSING:
        found = pattern.search(plain, at)
        if found is None:
            return False
        at = found.end()
    return True


def _numbers(expected: str, given: str) -> Agreement:
    left, right = find_quantities(expected), find_quantities(given)
    if not left or not right:
        return _spans(expected, given)
    if len(left) == len(right):
        same = sum(same_quantity(a, b) for a, b in zip(left, right, strict=True))
        return Agreement(same == len(left), same / len(left), "number")
    shorter, longer, longer_text = (left, right, given) if len(left) < len(right) else (right, left, expected)
    if len(shorter) == 1 and len(words(longer_text)) <= _MAX_WORDS_AROUND_NUMBER:
        # "212 students from 19 countries" for "212 students": the first, if its unit says so.
        first = longer[0]
        same_unit = bool(first.unit) and first.unit == shorter[0].unit
        if same_unit and same_quantity(shorter[0], first):
            return Agreement(True, 0.9, "number_first")
    return Agreement(False, 0.0, "number")


def _dates(expected: str, given: str) -> Agreement:
    left, right = find_dates(expected), find_dates(given)
    if not left or not right:
        return _spans(expected, given)
    if len(left) != len(right):
        return Agreement(False, 0.0, "date")
    met = sum(b.meets(a) for a, b in zip(left, right, strict=True))
    exact = left == right
    return Agreement(met == len(left), 1.0 if exact else 0.9 * met / len(left), "date")


def _names(expected: str, given: str) -> Agreement:
    left, right = _people(expected), _people(given)
    if len(left) > 1 and len(left) == len(right):
        rest = list(right)
        score = 1.0
        for name in left:
            found, best = 0.0, rest[0]
            for other in rest:
                agreement = name_agreement(name, other)
                if agreement > found:
                    found, best = agreement, other
                if found == 1.0:
                    break
            score = min(score, found)
            if not score:
                break
            rest.remove(best)
        if score > 0:
            return Agreement(True, score, "name_list")
    score = name_agreement(expected, given)
    return Agreement(score > 0, score or min(0.5, token_f1(expected, given)), "name")


def _people(text: str) -> list[str]:
    """The names joined by "and", "&" or commas; a comma also stands before a description."""
    plain = " ".join(text.split())
    return [part for part in re.split(r" ?,? (?:and|&) | ?[,;] ", plain) if words(part)]


def _lists(expected: str, given: str) -> Agreement:
    left, right = split_items(expected), split_items(given)
    unmatched = list(right)
    matched = 0
    for item in left:
        other = next((o for o in unmatched if _same_item(item, o)), None)
        if other is not None:
            unmatched.remove(other)
            matched += 1
    longer = max(len(left), len(right))
    score = matched / longer if longer else 0.0
    if longer and matched == longer:
        return Agreement(True, 1.0, "list_items")
    # "bread and butter, jam" against "bread, butter, jam": the split differs, the words do not.
    # A number belongs to one item; in a bag it could change places.
    if _bag(expected) == _bag(given) and not find_quantities(expected):
        return Agreement(True, 0.9, "list_words")
    return Agreement(False, score, "list_items")


def _same_item(a: str, b: str) -> bool:
    return not (is_non_answer(a) or is_non_answer(b)) and _spans(a, b).agrees


def _bag(text: str) -> Counter[str]:
    return Counter(token for token in _tokens(text) if token not in ("and", "or"))


def _choices(expected: str, given: str) -> Agreement:
    (letter, text), (other_letter, other_text) = option_of(expected), option_of(given)
    if letter and other_letter:
        if letter != other_letter:
            return Agreement(False, 0.0, "option_letter")
        if text and other_text and not _spans(text, other_text).agrees:
            return Agreement(False, 0.5, "option_text")
        return Agreement(True, 1.0, "option_letter")
    if text and other_text:
        found = _spans(text, other_text)
        return Agreement(found.agrees, found.score, "option_text")
    return Agreement(False, 0.0, "option_text")


def _yes_no(expected: str, given: str) -> Agreement:
    left, right = first_yes_no(expected), first_yes_no(given)
    agrees = left is not None and left == right
    return Agreement(agrees, float(agrees), "yes_no")


_FORMULA_SIGNS = str.maketrans(
    {
        "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "•": "*", "\u2062": "*",
        "÷": "/", "⁄": "/", "∕": "/",
        "−": "-", "–": "-", "—": "-", "‐": "-", "π": "pi", "≤": "<=", "≥": ">=",
        "→": "->", "√": "sqrt",
    }
)  # fmt: skip
_RAISED = "".join(c for c in map(chr, range(0x3000)) if unicodedata.decomposition(c).startswith("<super>"))
_LATEX = (
    (r"\\(?:left|right|displaystyle)(?![a-z])", ""),
    (r"\\(?:[,;:! ]|q?quad(?![a-z]))", " "),
    (r"\\([%&#])", r"\1"),
    (r"(\^|_)\s*\{([^{}\\]*)\}", r"\1(\2)"),
    (r"\\(?:math[a-z]+|text[a-z]*|operatorname)\s*(?:\{([^{}]*)\})?", r"\1"),
    (r"\\sqrt\s*\[([^\[\]]*)\]", r"root(\1)"),
    (r"(\^|_|\\sqrt|root\([^()]*\))\s*\{([^{}]*)\}", r"\1(\2)"),
    (r"(?<=\d)\s*\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r" \1/\2"),
    (r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"(\1)/(\2)"),
    (r"\\(?:cdot|times|ast)(?![a-z])", "*"),
    (r"\\div(?![a-z])", "/"),
    (r"\\pm(?![a-z])", "±"),
    # Of its own, for "5!=120" is an equation.
    (r"\\neq?(?![a-z])|\\not\s*=|(?<=\s)!=", "≠"),
    (r"\\(?:leq?)(?![a-z])", "<="),
    (r"\\(?:geq?)(?![a-z])", ">="),
    (r"\\(?:to|rightarrow)(?![a-z])", "->"),
    (r"\\([a-zA-Z]+)", r"\1"),
    (r"\\[()\[\]$]|\$", ""),
)
_GROUP = re.compile(r"(\^|_|/|sqrt) ?\(([^()]*)\)")
_ONE_OPERAND = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|[^\W\d_]+)[-+]?|[-+]")
_POWER = re.compile(r"(?:\d+|[^\W\d_])\^-?(?:\d+|[^\W\d_]+)")
_NEXT_OPERAND = re.compile(r" ?\*? ?[^\W_]")


def formula_key(text: str) -> str:
    """The normal form of a formula: one sign for each operation, powers with ^, spaces between numbers only.

    LaTeX and Unicode spellings meet ("E = mc²", "E=m*c^2", "$E = mc^{2}$"). It is a spelling, not
    algebra: a+b and b+a differ.
    """
    text = re.sub(f"[{_RAISED}]+", r"^(\g<0>)", text[:MAX_CHARACTERS])
    for pattern, replacement in _LATEX:
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"\s+", " ", text)
    # Before small indices become digits (2x₁); nor is that of x1x2 a sign.
    text = re.sub(r"(?<=[\d)]) x (?=\d)", "*", text)
    text = re.sub(r"(?<![\w.])\d[\d.]*(?:x\d[\d.]*)+", lambda found: found[0].replace("x", "*"), text)
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text.translate(_FORMULA_SIGNS))
    text = unicodedata.normalize("NFKC", text).translate(_FORMULA_SIGNS)
    text = text.replace("**", "^")
    text = re.sub(r"\[([^\[\],]*)\]", r"(\1)", text)  # with a comma it is an interval: [0, 5)
    text = re.sub(r"([\^/]|sqrt) ?(-?[^\W\d_]+)(?= ?\* ?[^\W_]| [^\W_])", r"\1(\2)", text)
    text = _GROUP.sub(_ungrouped, _GROUP.sub(_ungrouped, text))  # the powers first: 1/(x^(2))
    text = re.sub(r"\{(\w*)\}", r"\1", re.sub(r"_(?=\w)", "", text))
    text = re.sub(r"(?:(?<![\w^)])\(([\w^]+)\)|(?<=\d)\(([^\W\d_][\w^]*)\))/", r"\1\2/", text)
    # A sign of multiplication says nothing before a letter and a bracket.
    text = re.sub(r"(?<=[^\W_]|[)!'])\*(?=[^\W\d_]|\()", "", re.sub(r" ?\* ?", "*", text))
    text = re.sub(r"(?<=\d)[, ](?=\d{3}(?!\d))|(?<!\d) | (?!\d)", "", text)
    return text.rstrip(".,;:").lstrip(",;:")


def _ungrouped(found: re.Match[str]) -> str:
    """A power, root, index or denominator; without its brackets where it is one operand and plainly ends."""
    sign, inner = found[1], re.sub(r" ?\* ?(?=[^\W\d_])|\s", "", found[2])
    following = _NEXT_OPERAND.match(found.string, found.end())
    runs_on = following and ((inner[-1:].isalpha() and sign != "_") or following[0][0].isdigit())
    if found.string[found.end() : found.end() + 1] in ("^", "!"):  # a/(bc)^2 is no a/bc^2
        runs_on = runs_on or (sign != "_" and len(inner) > 1 and not inner.isdecimal())
    whole = _ONE_OPERAND.fullmatch(inner) or (sign == "/" and _POWER.fullmatch(inner))
    return sign + inner if whole and not runs_on else f"{sign}({inner})"


def _formulas(expected: str, given: str) -> Agreement:
    left, right = formula_key(expected), formula_key(given)
    # Upper and lower case differ in chemistry (Co, CO); in an equation models write them freely.
    if any(sign in left + right for sign in "=≠^*/<>"):
        left, right = left.casefold(), right.casefold()
    if left == right and left:
        return Agreement(True, 1.0, "formula")
    sides, other_sides = left.split("="), right.split("=")
    if len(sides) == len(other_sides) == 2 and sorted(sides) == sorted(other_sides):
        return Agreement(True, 0.95, "formula_sides")
    if {len(sides), len(other_sides)} == {1, 2}:
        (alone,), (name, value) = sorted((sides, other_sides), key=len)
        if alone and alone == value and re.fullmatch(r"\w(?:\(\w\))?|[a-z]+", name):
            return Agreement(True, 0.9, "formula_side")
    return Agreement(False, 0.0, "formula")


def _spans(expected: str, given: str) -> Agreement:
    left, right = normalise_answer(expected), normalise_answer(given)
    if left == right and left:
        return Agreement(True, 1.0, "normalised")
    score = token_f1(expected, given)
    if _negations(left) != _negations(right):
        return Agreement(False, min(score, 0.5), "negation")
    if not _same_numbers(find_quantities(expected), find_quantities(given)):
        return Agreement(False, min(score, 0.5), "span_numbers")
    return Agreement(score >= SPAN_F1, score, "span_f1")


def _negations(text: str) -> int:
    return sum(word in NEGATIONS for word in text.split())


def _same_numbers(left: list[Quantity], right: list[Quantity]) -> bool:
    return sorted(q.value for q in left) == sorted(q.value for q in right)


def _tokens(text: str) -> list[str]:
    return [stem(token) for token in normalise_answer(text).split()]


def token_f1(a: str, b: str) -> float:
    """The harmonic mean of precision and recall over the stemmed words of two answers, 0 to 1."""
    left, right = Counter(_tokens(a)), Counter(_tokens(b))
    shared = sum((left & right).values())
    total = sum(left.values()) + sum(right.values())
    return 2 * shared / total if total else float(fold(a) == fold(b))


#: Whether an expected and a given answer agree, by the name of the type.
COMPARISONS: dict[str, Callable[[str, str], Agreement]] = {
    NUMBER: _numbers,
    DATE: _dates,
    NAME: _names,
    SPAN: _spans,
    FORMULA: _formulas,
    LIST: _lists,
    MULTIPLE_CHOICE: _choices,
    YES_NO: _yes_no,
}
