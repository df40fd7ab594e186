"""Normal forms of questions and answers, and their words.

Normal forms are for comparing, never for showing: lower case, no punctuation, no articles, small
numbers as digits, units in one spelling. Every function takes any text of any script and language;
what is English (articles, number words, stems) simply does not apply elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache

from webscale_rl.text.clean import ordered_marks
from webscale_rl.text.units import CURRENCY_SIGNS, SHORT_UNITS, UNIT_SPELLINGS
from webscale_rl.text.wordlists import ARTICLES, IRREGULAR_FORMS, SMALL_NUMBERS, STOP_WORDS, TENS

# Scripts without spaces give one word a character, so that lengths mean something there; the marks
# of Indic scripts are no letters to Python and must be named.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|[\u0e01-\u0e2e][\u0e30-\u0e4e]*"
    r"|\d+(?:\.\d+)+"
    r"|[^\W_](?:[^\W_]|[\u0300-\u036f\u0900-\u0963\u0966-\u0dff\u0f00-\u109f]"
    r"|'(?=[^\W\d_]))*"
)
_GROUPED = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+)(?![\d,])")
_SPACED = re.compile(r"(?<![\w.,])(\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+)(?![\w,])")
_CURRENCY = re.compile(
    rf"([{re.escape(''.join(CURRENCY_SIGNS))}])\s?(\d[\d.,]*\d|\d)"
    r"((?:\s?(?:thousand|million|billion|trillion|bn|mn|m|k)\b)?)"
)
# One kind of apostrophe, quote and dash, and no invisible characters.
_SIGNS = (
    str.maketrans(dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02b9\u2032\u0060\u00b4", "'"))
    | str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'))
    | str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
    | dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF])
)
_MAX_PASSES = 8


def fold(text: str) -> str:
    """NFKC, case folded, one kind of apostrophe, quote and dash, no invisible characters. Idempotent."""
    return _settled(lambda one: _unified(one).casefold(), text)


def squeeze(text: str) -> str:
    """The text as one line with single spaces, quotes and dashes unified; case and words stay. Idempotent.

    This is the form in which a quotation must stand in its passage.
    """
    return " ".join(_settled(_unified, text).split())


def _unified(text: str) -> str:
    return unicodedata.normalize("NFKC", ordered_marks(text.translate(_SIGNS)))


def _settled(change: Callable[[str], str], text: str) -> str:
    """The text, changed until a change makes no difference: each may bring what another one waits for."""
    for _ in range(_MAX_PASSES):
        changed = change(text)
        if changed == text:
            break
        text = changed
    return text


def strip_accents(text: str) -> str:
    """The text without accents: Möbius and Mobius meet."""
    if text.isascii():
        return text
    parts = unicodedata.normalize("NFD", ordered_marks(text))
    return unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))


def join_digits(text: str) -> str:
    """Numbers without thousands separators: 1,000 and 1 000 become 1000."""
    text = _GROUPED.sub(lambda match: match[1].replace(",", ""), text)
    return _SPACED.sub(lambda match: re.sub(r"\D", "", match[1]), text)


def words(text: str) -> list[str]:
    """The words of a text in order, lower case, without punctuation; numbers in one piece."""
    return _WORD.findall(join_digits(fold(text)))


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A light English stem: plural, -ed, -ing and irregular forms meet their base.

    Args:
        word: one lower-case word. Other words than plain ASCII letters come back unchanged.
    """
    if word in IRREGULAR_FORMS:
        return _without_silent_e(IRREGULAR_FORMS[word])
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    base = word
    if word.endswith(("ies", "ied")):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        base = word[:-1]
    elif word.endswith("ing") and _has_vowel(word[:-3]) and len(word) > 5:
        base = _undouble(word[:-3])
    elif word.endswith("ed") and not word.endswith("eed") and _has_vowel(word[:-2]):
        base = _undouble(word[:-2])
    return _without_silent_e(base)


def _without_silent_e(base: str) -> str:
    """Dropped everywhere, as "making" does not tell whether its base had one."""
    return base[:-1] if len(base) > 3 and base.endswith("e") else base


def _has_vowel(text: str) -> bool:
    return any(character in "aeiouy" for character in text)


def _undouble(text: str) -> str:
    doubled = len(text) > 3 and text[-1] == text[-2] and text[-1] not in "aeiouls"
    return text[:-1] if doubled else text


def content_words(text: str) -> list[str]:
    """The words that carry the content, in order, stemmed; number words as digits.

    Function words are left out; what is left of "How many gears did it have?" is "gear".
    """
    kept = [word for word in _plain_words(text) if word not in STOP_WORDS]
    return [stem(word) for word in _digits_for_words(_spell_units(kept))]


def normalise_answer(text: str) -> str:
    """The normal form of an answer. Idempotent; equal forms are the same answer.

    Case, punctuation, articles, thousands separators, small number words
    ("twenty-five" is 25), currency signs and the spellings of units are made one.
    """
    return _settled(_normalise_once, text)


def _normalise_once(text: str) -> str:
    found = _digits_for_words(_spell_units(_plain_words(_spell_signs(join_digits(fold(text))))))
    last = len(found) - 1
    # An article in the last place is a letter or a name ("vitamin A", "The The").
    return " ".join(w for i, w in enumerate(found) if w not in ARTICLES or i == last)


def _spell_signs(text: str) -> str:
    text = _CURRENCY.sub(lambda m: f"{m[2]}{m[3]} {CURRENCY_SIGNS[m[1]]} ", text)
    text = re.sub(r"(?<=\d)\s?bn\b", " billion", re.sub(r"(?<=\d)\s?mn\b", " million", text))
    text = re.sub(r"(?<!\S)-(?=\d)", "minus ", re.sub(r"(?<=\d)/(?=\d)", " over ", text))
    text = text.replace("°c", " celsius ").replace("°f", " fahrenheit ")
    return text.replace("%", " percent ").replace("°", " degree ")


def _plain_words(text: str) -> list[str]:
    """Words without possessive endings and inner apostrophes at their end."""
    found = []
    for word in words(text):
        while word.endswith("'s") and len(word) > 2:
            word = word[:-2]
        found.append(word.strip("'") or word)
    return found


def _spell_units(found: list[str]) -> list[str]:
    """Unit spellings made one; short ones ("m", "in") only behind a number."""
    spelled: list[str] = []
    for word in found:
        unit = UNIT_SPELLINGS.get(word)
        behind_number = bool(spelled) and _is_number(spelled[-1])
        joined = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zµμ]{1,3})", word)
        if joined and joined[2] in UNIT_SPELLINGS:
            spelled += [joined[1], UNIT_SPELLINGS[joined[2]]]
        elif unit and (word not in SHORT_UNITS or behind_number):
            if unit in ("celsius", "fahrenheit") and spelled and spelled[-1] == "degree":
                spelled.pop()
            spelled.append(unit)
        else:
            spelled.append(word)
    return spelled


def _is_number(word: str) -> bool:
    return word[:1].isdecimal() or word in SMALL_NUMBERS or word in TENS


def _digits_for_words(found: Iterable[str]) -> list[str]:
    """Number words up to ninety-nine as digits."""
    digits: list[str] = []
    tens_before = False
    for word in found:
        small = SMALL_NUMBERS.get(word)
        if tens_before and small is not None and 1 <= small <= 9:
            digits[-1] = str(int(digits[-1]) + small)
            tens_before = False
        else:
            value = TENS.get(word, small)
            digits.append(word if value is None else str(value))
            tens_before = word in TENS
    return digits
