"""Finds spans of a passage that could be the answer of a question: the first half of *answer first*.

Plain rules over one sentence at a time, each a pattern with the answer type that it finds and how well
its spans have served. What counts is that a span is a complete answer (a number with its unit, a full
date, a whole name) and that its sentence says what it belongs to; a missed span costs nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from webscale_rl.text.sentences import sentences

__all__ = ["Span", "candidates", "leans", "sentences"]


@dataclass(frozen=True)
class Span:
    """A possible answer: `text` is passage[start:end], `sentence` the sentence around it.

    `kind` is finer than `answer_type`: year, date, count, percent, money, person, place, name, term,
    cause or list. `unit` is what a count counts ("square kilometres"), else empty.
    """

    text: str
    answer_type: str
    sentence: str
    start: int
    end: int
    score: float
    kind: str = ""
    unit: str = ""


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    kind: str
    score: float


_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_YEAR = r"(?:1[0-9]{3}|20[0-9]{2})"
_ERA = r"(?:\s(?:BC|BCE|AD|CE)\b)"
_DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_SMALL = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    "seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_SCALE = r"(?:\s(?:thousand|million|billion|trillion))"
_UNIT = (
    r"(?:%|°\s?[CFK]\b|(?:degrees?(?:\s(?:Celsius|Fahrenheit))?|per\s?cent|percent|percentage points"
    r"|(?:square|cubic)\s\w+|"
    r"(?:milli|micro|nano|centi|kilo|mega|giga|tera)?(?:met(?:re|er)|gram(?:me)?|lit(?:re|er)|watt|volt"
    r"|hertz|byte|second|joule|calorie|pascal|tonne|ton|ampere)s?"
    r"|km/h|km|kg|mg|cm|mm|nm|µm|μm|ml|mL|kW|MW|GW|kWh|MWh|Hz|kHz|MHz|GHz|KB|MB|GB|TB|ms|"
    r"feet|foot|inch(?:es)?|miles?|yards?|acres?|hectares?|pounds?|ounces?|gallons?|"
    r"years?|months?|weeks?|days?|hours?|minutes?|seconds?|centuries|decades|"
    r"dollars?|euros?|pounds?|yen|cents?|francs?|people|inhabitants|degrees)(?![\w-]))"
)
_NAME_WORD = r"[A-ZÀ-ÖØ-Þ][\w’'&.-]*[\w]"
_LINK = r"(?:of|de|del|della|da|di|du|van|von|der|den|la|le|al|bin|ibn|and|the|for)"
_NAME = rf"{_NAME_WORD}(?:\s(?:{_LINK}\s(?:the\s)?)?(?:(?:[A-Z]\.)+\s)*{_NAME_WORD})*"

_NO_UNIT = (
    r"(?!(?:to|and|or|in|of|at|on|by|is|as|was|were|this|its|his|means|begins|becomes|times|has|does|"
    r"others|less|across|plus|minus|thus|always|sometimes|perhaps|ones)\b)"
)
# A number of years before or after something is no answer without the something.
_NOT_RELATIVE = r"(?!\s(?:later|earlier|before|after|ago|older|younger|more|fewer|less|higher|lower)\b)"
# A whole name is not part of a longer one ("the Hawthorne studies", "Elisha *Otis*").
_NAME_ENDS = (
    r"(?=[.,;:)]|$|\s(?:[a-z]+ed|in|on|at|by|to|from|for|with|and|or|as|of|who|which|that|where|when|while|"
    r"after|before|during|between|under|over|is|was|are|were|has|had|can|because|but|then|first|also|"
    r"until|since|about|around|than|through|[a-z]+ly|[(]|wrote|built|won|made|led|found|gave|began|took|became|"
    r"showed|sold|held|set|put|saw|ran|drew|left|met|sent|taught|thought|brought|bought)\b)"
)
_NAMED = rf"((?<![A-Z])(?<![A-Z]\s){_NAME}){_NAME_ENDS}"


def _rule(kind: str, score: float, *pattern: str, flags: re.RegexFlag = re.NOFLAG) -> _Rule:
    return _Rule(re.compile("".join(pattern), flags), kind, score)


_NO_FIGURE_BEFORE = r"(?<![\w.,$€£-])"
_WORD_ENDS = r"(?![\w-])"
_DID = r"[a-z]+ed|wrote|built|won|found|made|led|gave|began|showed|drew|taught"

# What each kind's spans scored is how many of their questions were good, written by a very small model:
# who and when come out best, figures worst.
_RULES = (
    # Dates: whole ones (but not the end of "from 1 to 22 July 1944"), months, years behind a word that
    # makes them years.
    _rule("date", 0.85, rf"(?<!\d\sto\s)(?<!\sand\s)\b(\d{{1,2}}\s{_MONTH}\s{_YEAR})\b"),
    _rule("date", 0.85, rf"\b({_MONTH}\s\d{{1,2}},\s{_YEAR})\b"),
    _rule("date", 0.85, rf"(?<!\d\s)\b({_MONTH}\s{_YEAR})\b"),
    _rule(
        "year", 0.9, r"\b(?:[Ii]n|[Ss]ince|[Uu]ntil)\s", rf"((?:\d{{1,4}}{_ERA})|{_YEAR}\b)", r"(?![,.-]?\d)"
    ),
    # Numbers: money, figures with a unit, figures with what they count.
    _rule("money", 0.6, r"(?<![\w.,-])", rf"([$€£¥]\s?(?:{_DIGITS}){_SCALE}?)", _WORD_ENDS),
    _rule(
        *("count", 0.6, _NO_FIGURE_BEFORE),
        rf"((?:{_DIGITS}|{_SMALL}){_SCALE}?(?:\s|-(?!\w))?{_UNIT}(?:\sper\s\w+)?)",
        _NOT_RELATIVE,
        flags=re.IGNORECASE,
    ),
    _rule(
        *("count", 0.55, _NO_FIGURE_BEFORE),
        rf"((?:{_DIGITS}){_SCALE}?\s{_NO_UNIT}[a-z]{{2,}}s)",
        *(_WORD_ENDS, _NOT_RELATIVE),
    ),
    _rule(
        *("count", 0.4, r"(?<![\w-])"),
        rf"((?:{_SMALL})\s{_NO_UNIT}[a-z]{{2,}}s)",
        *(_WORD_ENDS, _NOT_RELATIVE),
        flags=re.IGNORECASE,
    ),
    # What something is called.
    _rule(
        *("term", 0.7, r"\b(?:is|are|was|were|be)\s(?:also\s|often\s|sometimes\s|usually\s|now\s)?"),
        r"(?:called|known as|named|termed)\s(?:an?\s|the\s)?",
        r"([\w’'-]+(?:\s[\w’'-]+){0,3})",
        r"(?=[,.;)]|\s(?:and|in|after|because|by|which|that|when)\b)",
    ),
    # Names: who did it, where it is, other names.
    _rule("person", 0.95, rf"\bby\s(?:the\s(?:[a-z-]+\s){{1,4}})?{_NAMED}"),
    _rule("person", 0.95, rf"^{_NAMED}(?=\s(?:first\s|also\s|later\s|then\s)?(?:{_DID})\b)"),
    _rule("place", 0.65, rf"\b(?:in|at|near|on)\s(?:the\s)?{_NAMED}"),
    _rule("name", 0.4, rf"(?<=[a-z,;]\s){_NAMED}"),
    # Causes.
    _rule(
        *("cause", 0.45, r"\b(?:because of|due to|caused by)\s"),
        r"((?:an?\s|the\s)?[a-z][\w’'-]*(?:\s[\w’'-]+){0,4})(?=[.,;])",
    ),
)

# The end of a range ("three to five metres") or the whole of a part ("187 of 210 points") is no figure of its
# own, and a hedged one ("about 40 tonnes") is exact only with its hedge.
_OTHER_FIGURE = re.compile(rf"(?:\d|\b(?:{_SMALL}|one))\s(?:to|or|and|of(?:\sthe)?)\s$", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:about|around|roughly|nearly|almost|some|over|under|up\sto|at\s(?:least|most)|(?:more|less|fewer)\sthan)\s$",
    re.IGNORECASE,
)
_HEDGED = 0.1

_QUANTITY = re.compile(rf"^(?:{_DIGITS}|{_SMALL}){_SCALE}?[\s-]?", re.I)

_ANSWER_TYPES = {
    "year": "date",
    "date": "date",
    "count": "number",
    "percent": "number",
    "money": "number",
    "person": "name",
    "place": "name",
    "name": "name",
    "term": "span",
    "cause": "span",
}

_ITEM = r"(?:the\s|an?\s)?[\w’'-]+(?:\s[\w’'-]+){0,2}"
_LIST = re.compile(
    r"\b(?:are|include|includes|including|contains?|comprises?|consists? of|such as|namely|:)\s"
    rf"((?:{_ITEM},\s){{1,5}}{_ITEM},?\sand\s{_ITEM})(?=[.;])"
)

# Capitalised words that are no names, and pronouns that leave a sentence without its subject.
_NO_NAME = frozenset(
    re.findall(
        r"\S+",
        "I The A An It They He She We You This That These Those In On At By For And But Or As If When "
        "While Its Their His Her Our Your My There Here One Two Three Some Many Most Each Every After "
        "Before During January February March April May June July August September October November "
        "December Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mondays Tuesdays Wednesdays Thursdays "
        "Fridays Saturdays Sundays",
    )
)
_DASHES = "–— "
_DANGLING = re.compile(
    r"^(?:It|They|He|She|This|That|These|Those|Its|Their|His|Her|We|You|I|There|Here|However|"
    r"Such|Both|Another|The (?:latter|former|same|first|second|other))\b"
)


def leans(sentence: str) -> bool:
    """Whether a sentence begins with a word that points back ("It", "They", "This", "The former")."""
    return _DANGLING.match(sentence) is not None


def candidates(passage: str, title: str = "") -> list[Span]:
    """Possible answers, best first, none overlapping another; the same for the same input.

    Args:
        passage: the text.
        title: spans that the title already names are left out: they are what a question is *about*.

    Returns:
        Spans of the types number, date, name, span and list; scores are from 0 to 1 and only rank.
    """
    found: list[Span] = []
    heading = title.casefold()
    for start, end in sentences(passage):
        found.extend(_of_sentence(passage, start, end, heading))
    found.sort(key=lambda span: (-span.score, span.start, -span.end))
    kept: list[Span] = []
    taken: list[tuple[int, int]] = []  # in order, none overlapping another
    for span in found:
        at = bisect_left(taken, (span.end, 0))
        if not at or taken[at - 1][1] <= span.start:
            taken.insert(at, (span.start, span.end))
            kept.append(span)
    return kept


def _stands_again(passage: str, text: str) -> int:
    """How many more times a text of the passage stands there; 2 for all that are more."""
    at = passage.find(text)
    for again in range(2):
        at = passage.find(text, at + len(text))
        if at < 0:
            return again
    return 2


def _of_sentence(passage: str, start: int, end: int, heading: str) -> Iterator[Span]:
    sentence = passage[start:end].lstrip(_DASHES)  # "Who pays? – A trust in Rotterdam."
    start = end - len(sentence)
    words = sentence.split()
    if not 5 <= len(words) <= 60 or sentence[-1] not in ".!\"'”’)" or not sentence[0].isalnum():
        return
    context = 1.0
    if leans(sentence):
        context -= 0.35 if not heading else 0.2
    if len(words) > 30:
        context -= 0.15
    if len(words) < 8:
        context -= 0.1
    for rule in _RULES:
        for match in rule.pattern.finditer(sentence):
            text = match[1].rstrip(".,;: ")
            if not _usable(sentence, text, match.start(1), rule.kind, heading):
                continue
            at = start + match.start(1)
            score = rule.score * context - 0.15 * _stands_again(passage, text)
            if rule.kind in ("count", "money"):
                before = sentence[: match.start(1)]
                if _OTHER_FIGURE.search(before):
                    continue
                score -= _HEDGED if _HEDGE.search(before) else 0.0
            unit = _QUANTITY.sub("", text) if rule.kind == "count" else ""
            kind = "percent" if unit.startswith(("%", "per cent", "percent")) else rule.kind
            yield Span(
                text,
                _ANSWER_TYPES[kind],
                sentence,
                at,
                at + len(text),
                round(max(score, 0.0), 4),
                kind,
                unit if kind == "count" else "",
            )
    for match in _LIST.finditer(sentence):
        yield Span(
            match[1],
            "list",
            sentence,
            start + match.start(1),
            start + match.end(1),
            round(max(0.45 * context, 0.0), 4),
            "list",
        )


def _usable(sentence: str, text: str, at: int, kind: str, heading: str) -> bool:
    """Whether a found text is an answer: not the passage's subject, a mere word or half a name."""
    if len(text) < 2 or (heading and text.casefold() in heading):
        return False
    if _ANSWER_TYPES[kind] != "name":
        return True
    before = sentence[:at].rsplit(None, 1)[-1:]
    if before and before[0][0].isupper() and before[0] not in _NO_NAME and before[0][-1] not in ",;:":
        return False
    if text.split()[0] in _NO_NAME or (at == 0 and len(text.split()) < 2):
        return False
    return any(len(word) > 2 for word in text.split())
