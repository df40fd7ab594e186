"""Numbers with their units, as they stand in running English text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext

from webscale_rl.text.clean import ordered_marks
from webscale_rl.text.normalise import join_digits, stem
from webscale_rl.text.units import CURRENCY_SIGNS, SHORT_UNITS, UNIT_SPELLINGS, UNITS
from webscale_rl.text.wordlists import (
    APPROXIMATE,
    ARTICLES,
    AUXILIARIES,
    HEDGES,
    PREPOSITIONS,
    SMALL_NUMBERS,
    STOP_WORDS,
    TENS,
)

SCALES: dict[str, Decimal] = {
    "hundred": Decimal(100),
    "thousand": Decimal(10) ** 3,
    "million": Decimal(10) ** 6,
    "billion": Decimal(10) ** 9,
    "trillion": Decimal(10) ** 12,
    "dozen": Decimal(12),
    "bn": Decimal(10) ** 9,
    "mn": Decimal(10) ** 6,
    "k": Decimal(10) ** 3,
}
_PARTS = {"half": Decimal("0.5"), "third": Decimal(1) / 3, "quarter": Decimal("0.25")}
_TIMES = {"once": Decimal(1), "twice": Decimal(2), "thrice": Decimal(3)}

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile(r"(?<=10)([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_TOKEN = re.compile(
    r"(?P<number>(?<![\w.])[-+]?\d+(?:\.\d+)?)(?P<ordinal>(?:st|nd|rd|th)\b)?"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)?)"
    r"|(?P<sign>°[cf]?|[%$€£¥₹≈~/;,.:!?()\[\]-])"
)
_POWER = re.compile(
    r"(?:(?<![\w.])(\d+(?:\.\d+)?)\s*[x×·⋅*]\s*)?(?<![\w.])10\s*(?:\^|\*\*)\s*\{?([-+]?\d{1,3})\}?(?!\d)"
)
_FRACTION = re.compile(r"(?<![\w./])(?:(\d+) )?(\d{1,6})\s?/\s?([1-9]\d{0,5})(?![\w/])")
_PRECISION = Context(prec=60)


@dataclass(frozen=True)
class Quantity:
    """One number of a text.

    Attributes:
        value: the number, its scale word multiplied in ("3.2 million").
        unit: what is counted or measured: a canonical unit, or stemmed words ("virtual machine"),
            or "".
        per: the unit behind "per" or "/", or "".
        approximate: whether the text says "about".
    """

    value: Decimal
    unit: str = ""
    per: str = ""
    approximate: bool = False


def find_quantities(text: str) -> list[Quantity]:
    """Every number in a text, in order, with the unit that follows (or the currency sign before).

    English number words and scales are read ("two hundred and five", "3.2 million", "a dozen",
    "two thirds"); a lone "one" counts, an ordinal word ("first") does not, "15th" does.
    """
    with localcontext(_PRECISION):
        return _Reader(_tokens(_clean(text))).read()


def same_quantity(a: Quantity, b: Quantity) -> bool:
    """Whether two quantities are equal: units must agree where both have one, and convert.

    If one is approximate, the more precise must round to the other.
    """
    with localcontext(_PRECISION):
        if a.per != b.per and ((a.per and b.per) or UNITS.get(a.unit, ("",))[0] == "length"):
            return False  # a price may leave "per ton" to the question, a speed is no length
        left, right = a.value, b.value
        if a.unit and b.unit and a.unit != b.unit:
            known_a, known_b = UNITS.get(a.unit), UNITS.get(b.unit)
            if known_a and known_b and known_a[0] == known_b[0]:
                left, right = left * known_a[1], right * known_b[1]
            elif known_a or known_b or not _same_thing(a.unit, b.unit):
                return False
        elif (a.unit == "percent") != (b.unit == "percent") and abs(left - right) > 0:
            left, right = (left / 100, right) if a.unit else (left, right / 100)
        if _close(left, right):
            return True
        return (a.approximate or b.approximate) and _rounds_to(left, right)


def _same_thing(a: str, b: str) -> bool:
    """Counted things agree when one names the other less exactly ("machine", "virtual machine")."""
    left, right = a.split(), b.split()
    return left[-1] == right[-1] or set(left) <= set(right) or set(right) <= set(left)


def _close(a: Decimal, b: Decimal) -> bool:
    """Equal; where one has decimals, but for what a division leaves behind."""
    if a == b or (a == a.to_integral_value() and b == b.to_integral_value()):
        return a == b
    return abs(a - b) <= Decimal("1e-9") * max(abs(a), abs(b))


def _rounds_to(a: Decimal, b: Decimal) -> bool:
    digits_a, digits_b = _significant(a), _significant(b)
    fewest = min(digits_a, digits_b)
    if fewest < 1:
        return False
    context = Context(prec=fewest, rounding=ROUND_HALF_UP)
    return context.plus(a) == context.plus(b)


def _significant(value: Decimal) -> int:
    return len(value.normalize().as_tuple().digits) if value else 0


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _clean(text: str) -> str:
    text = re.sub(r"(?<=\d)(?=[¼-¾⅐-⅞])", " ", text)  # "2½" is two and a half, not 21/2
    text = re.sub(r"(?<=10)([⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "^" + m[1].translate(_SUPERSCRIPTS), text)
    text = unicodedata.normalize("NFKC", ordered_marks(text)).lower()
    text = re.sub("[\u2212\u2010-\u2015]", "-", text).replace("\u2044", "/").replace("\u2019", "'")
    text = re.sub(r"[^\D0-9]", lambda m: str(unicodedata.decimal(m[0])), text)
    text = _POWER.sub(_expand_power, join_digits(text))
    text = re.sub(r"\b(\d{3}0)'?s\b", r"\1th", text)  # the 1990s are no seconds
    text = re.sub(r"\bminus\s+(?=\d)", "-", text)
    # A hyphen between a number and what follows joins ("25-hour", "1914-1918"), it does not negate.
    return re.sub(r"(?<=[\w%])-(?=\w)", " - ", text)


def _expand_power(match: re.Match[str]) -> str:
    return format(Decimal(match[1] or 1).scaleb(int(match[2])), "f")


def _expand_fraction(match: re.Match[str]) -> str:
    return format(Decimal(match[1] or 0) + Decimal(match[2]) / Decimal(match[3]), "f")


def _tokens(text: str) -> list[_Token]:
    text = _FRACTION.sub(_expand_fraction, text)
    tokens = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "sign"
        if kind == "ordinal":
            tokens.append(_Token("ordinal", match["number"]))
        else:
            tokens.append(_Token(kind, match[kind]))
    return tokens


class _Reader:
    """Reads quantities off a token list, left to right."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> _Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else _Token("end", "")

    def read(self) -> list[Quantity]:
        found = []
        approximate, currency = False, ""
        while self.peek().kind != "end":
            token = self.peek()
            value = self.number()
            if value is not None:
                unit, per = ("", "") if token.kind == "ordinal" else self.unit()
                found.append(Quantity(value, currency or unit, per, approximate))
                approximate, currency = False, ""
                continue
            self.at += 1
            if token.text in CURRENCY_SIGNS:
                currency = CURRENCY_SIGNS[token.text]
            else:
                currency = ""
                skipped = token.text in HEDGES or token.text in ARTICLES or token.text == "."
                approximate = token.text in APPROXIMATE or (approximate and skipped)
        return found

    def number(self) -> Decimal | None:
        """A number at this place, read to its end; None (and nothing read) if there is none."""
        token = self.peek()
        if token.kind in ("number", "ordinal"):
            self.at += 1
            value = Decimal(token.text)
            return value if token.kind == "ordinal" else self.scaled(value)
        if token.kind != "word":
            return None
        if token.text in _TIMES:
            return _TIMES[self.take()]
        if token.text in _PARTS and token.text == "half":
            self.at += 1
            if self.peek().text in ("a", "an") and self.peek(1).text in SCALES:
                self.at += 1
            return self.scaled(_PARTS["half"])
        following = self.peek(1).text
        if token.text in ("a", "an"):
            if following in SCALES and following not in ("k", "bn", "mn"):
                self.at += 1
                return self.scaled(Decimal(1))
            if following in _PARTS:
                self.at += 2
                return _PARTS[following]
            return None
        value_of_words = self.number_words()
        return None if value_of_words is None else self.scaled(value_of_words)

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1].text

    def number_words(self) -> Decimal | None:
        """Number words below a hundred."""
        word = self.peek().text
        if word in TENS:
            self.at += 1
            hyphen = self.peek().text == "-"
            ones = SMALL_NUMBERS.get(self.peek(1 if hyphen else 0).text, 0)
            if 1 <= ones <= 9:
                self.at += 2 if hyphen else 1
                return Decimal(TENS[word] + ones)
            return Decimal(TENS[word])
        if word in SMALL_NUMBERS:
            self.at += 1
            return Decimal(SMALL_NUMBERS[word])
        return None

    def scaled(self, value: Decimal) -> Decimal:
        """The value times the scales that follow, plus lower parts ("two hundred and five")."""
        part = self.peek().text
        if part in _PARTS or (part.endswith("s") and part[:-1] in _PARTS) or part == "halves":
            self.at += 1
            return value * _PARTS[{"halves": "half"}.get(part, part.removesuffix("s"))]
        if self.peek().text == "-" and self.peek(1).text in SCALES:
            self.at += 1
        lowest: Decimal | None = None
        total = value
        while self.peek().text in SCALES:
            lowest = SCALES[self.take()]
            total *= lowest
        start = self.at
        if self.peek().text == "and":
            self.at += 1
        if start != self.at and self.peek().text in ("a", "an") and self.peek(1).text == "half":
            self.at += 2
            return total + (lowest or 1) / Decimal(2)
        joins = lowest is not None and lowest >= 100 and self.peek().kind == "word"
        more = self.number_words() if joins else None
        if more is not None and lowest is not None:
            rest = self.scaled(more)
            if rest < lowest:
                return total + rest
        self.at = start
        return total

    def unit(self) -> tuple[str, str]:
        """The unit that follows a number and the one behind "per" or "/"."""
        first = self.one_unit(behind_number=True)
        per = ""
        if first and self.peek().text in ("per", "/") and self.peek(1).kind == "word":
            self.at += 1
            per = self.one_unit(behind_number=True)
        return first, per

    def one_unit(self, behind_number: bool) -> str:
        if self.peek().text == "-" and self.peek(1).kind == "word":
            following = UNIT_SPELLINGS.get(self.peek(1).text)
            if following:
                self.at += 1
        token = self.peek()
        known = UNIT_SPELLINGS.get(token.text)
        if known and (token.text not in SHORT_UNITS or behind_number):
            self.at += 1
            if known == "degree" and UNIT_SPELLINGS.get(self.peek().text) in (
                "celsius",
                "fahrenheit",
            ):
                return UNIT_SPELLINGS[self.take()]
            if token.text == "°c" or token.text == "°f":
                return "celsius" if token.text == "°c" else "fahrenheit"
            return known
        counted: list[str] = []
        while len(counted) < 3 and self.peek().kind == "word":
            word = self.peek().text
            stops = AUXILIARIES | PREPOSITIONS | STOP_WORDS
            if word in stops or word in SMALL_NUMBERS or word in TENS or word in SCALES:
                break
            if counted and UNIT_SPELLINGS.get(word) and word not in SHORT_UNITS:
                counted = []
                self.at += 1
                return UNIT_SPELLINGS[word]
            counted.append(stem(word))
            self.at += 1
        return " ".join(counted)
