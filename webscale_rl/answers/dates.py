"""Dates as far as a text gives them: a century, a year, a month and year, a full day."""

from __future__ import annotations

import re
from dataclasses import dataclass

from webscale_rl.text.normalise import fold
from webscale_rl.text.wordlists import MONTHS, ORDINALS, SEASONS, TENS, WEEKDAYS


@dataclass(frozen=True)
class DateParts:
    """The parts of a date that a text gives; None where it gives none.

    Attributes:
        century: 15 for the 15th century, -3 for the third century BC.
        decade: 1990 for the 1990s.
        year: negative for BC.
        season: spring, summer, autumn or winter.
        month: 1 to 12.
        day: 1 to 31.
        weekday: 0 (Monday) to 6.
    """

    century: int | None = None
    decade: int | None = None
    year: int | None = None
    season: str | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None

    def meets(self, expected: DateParts) -> bool:
        """Whether this date gives every part of the expected one, and the same value in each.

        A year meets its decade and its century; nothing meets a part that it does not give.
        """
        return all(wanted is None or self._part(name) == wanted for name, wanted in vars(expected).items())

    def _part(self, name: str) -> int | str | None:
        given: int | str | None = getattr(self, name)
        if given is None and name == "decade" and self.year is not None and self.year > 0:
            return self.year // 10 * 10
        if given is None and name == "century":
            year = self.year if self.year is not None else self.decade
            if year is not None and year != 0:
                return (year - 1) // 100 + 1 if year > 0 else -((-year - 1) // 100 + 1)
        return given


_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_ORDINAL_WORDS: dict[str, int] = ORDINALS | {
    f"{tens}-{word}": TENS[tens] + value
    for tens in ("twenty",)
    for word, value in ORDINALS.items()
    if value < 10
}
_NTH_WORDS = "|".join(sorted(_ORDINAL_WORDS, key=len, reverse=True))
_NTH = r"(\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(\d{3,4})(?!\d|[.,]\d)"
_ERA = r"(?:\s?(bce?|b\.c\.(?:e\.)?|ce|ad|a\.d\.))?(?!\w)"

# The longest reading first: what one pattern takes, the later ones no longer see.
_PATTERNS: tuple[tuple[str, str], ...] = (
    ("ymd", r"(?<![\d.])(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)"),
    ("dmy", r"(?<![\d.])(\d{1,2})[./](\d{1,2})[./](\d{4})(?!\d)"),
    ("d_month", rf"(?<!\d){_NTH}(?: of)? ({_MONTH})\b\.?(?:,? {_YEAR}{_ERA})?"),
    ("month_d", rf"\b({_MONTH})\.? (?:the )?{_NTH}(?!\d)(?:,? {_YEAR}{_ERA})?"),
    ("month_year", rf"\b({_MONTH})\b\.?,?(?: of)? {_YEAR}{_ERA}"),
    ("season_year", rf"\b({'|'.join(SEASONS)})(?: of)? {_YEAR}"),
    ("century", rf"(?<!\d){_NTH}[ -]century\b{_ERA}"),
    (
        "century_word",
        rf"\b({_NTH_WORDS})[ -]century\b{_ERA}",
    ),
    ("decade", r"(?<!\d)(\d{3}0)'?s\b"),
    ("ad_year", r"\b(?:ad|a\.d\.) ?(\d{1,4})(?!\d)"),
    ("era_year", r"(?<![\d.,])(\d{1,3}(?:,\d{3})|\d{1,5}) ?(bce?|ce|ad|b\.c\.|a\.d\.)(?!\w)"),
    ("year", r"(?:(?<![\w.,$€£-])|(?<=\d{4}-))([1-9]\d{3})(?![\w%]|[.,]\d)"),
    (
        "short_year",
        r"\b(?:in|year|around|about|circa) "
        r"([1-9]\d{2})(?![\w%]|[.,]\d| ?(?:bc|ce|ad|b\.c|a\.d))",
    ),
    ("weekday", rf"\b({'|'.join(WEEKDAYS)})s?\b"),
)
_ANY_DATE = re.compile(rf"(?=\w)(?:{'|'.join(f'(?P<{name}>{pattern})' for name, pattern in _PATTERNS)})")
_COMPILED = {name: re.compile(pattern) for name, pattern in _PATTERNS}

_LONE = re.compile(
    r"(?:in |the |year |around |about |circa )*"
    rf"(?:(\d{{3}})|({_MONTH})|({'|'.join(SEASONS)}))\.?"
)
_AROUND_DATES = frozenset(
    re.findall(
        r"\w+",
        """in on at by of the year around about circa ca c approximately early late mid between and
        to from until since before after during a d or""",
    )
)


def find_dates(text: str) -> list[DateParts]:
    """Every date of a text, in order. A lone month, season or three-digit year is one, too.

    Numeric dates are read day first, month first where only that gives a month.
    """
    folded = fold(text).replace("\n", " ")
    found = []
    for match in _ANY_DATE.finditer(folded):
        parts = _read(match)
        if parts is not None:
            found.append(parts)
    if not found and (lone := _LONE.fullmatch(folded.strip())):
        if lone[1]:
            found.append(DateParts(year=int(lone[1])))
        elif lone[2]:
            found.append(DateParts(month=MONTHS[lone[2]]))
        else:
            found.append(DateParts(season=SEASONS[lone[3]]))
    return found


def is_date(text: str) -> bool:
    """Whether a text is a date (or a range of dates) and nothing else."""
    if not find_dates(text):
        return False
    folded = fold(text).replace("\n", " ").strip()
    if _LONE.fullmatch(folded):
        return True
    rest = re.findall(r"[^\W_]+", _ANY_DATE.sub(" ", folded))
    return all(word in _AROUND_DATES for word in rest)


def _read(match: re.Match[str]) -> DateParts | None:
    name = match.lastgroup or _name_of(match)
    groups = _groups(name, match)
    if name == "ymd":
        return _checked(year=int(groups[0]), month=int(groups[1]), day=int(groups[2]))
    if name == "dmy":
        first, second, year = (int(group) for group in groups)
        return _checked(year, second, first) or _checked(year, first, second)
    if name == "d_month":
        return _checked(_year(groups[2], groups[3]), MONTHS[groups[1]], int(groups[0]))
    if name == "month_d":
        return _checked(_year(groups[2], groups[3]), MONTHS[groups[0]], int(groups[1]))
    if name == "month_year":
        return DateParts(year=_year(groups[1], groups[2]), month=MONTHS[groups[0]])
    if name == "season_year":
        return DateParts(year=int(groups[1]), season=SEASONS[groups[0]])
    if name == "century":
        return DateParts(century=_year(groups[0], groups[1]))
    if name == "century_word":
        return DateParts(century=_year(str(_ORDINAL_WORDS[groups[0]]), groups[1]))
    if name == "decade":
        return DateParts(decade=int(groups[0]))
    if name == "era_year":
        return DateParts(year=_year(groups[0].replace(",", ""), groups[1]))
    if name == "weekday":
        return DateParts(weekday=WEEKDAYS.index(groups[0]))
    return DateParts(year=int(groups[0]))


def _name_of(match: re.Match[str]) -> str:
    return next(name for name, text in match.groupdict().items() if text is not None)


def _groups(name: str, match: re.Match[str]) -> list[str]:
    """The groups of the pattern that matched, "" for a part that is not there."""
    start = match.re.groupindex[name]
    return [match[start + i] or "" for i in range(1, _COMPILED[name].groups + 1)]


def _year(digits: str, era: str) -> int | None:
    if not digits:
        return None
    return -int(digits) if era.startswith("b") else int(digits)


def _checked(year: int | None, month: int, day: int) -> DateParts | None:
    valid = 1 <= month <= 12 and 1 <= day <= 31
    return DateParts(year=year, month=month, day=day) if valid else None
