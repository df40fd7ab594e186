"""What limits an answer in its sentence: "until 1903", "more than 40 tonnes", "A story says that ..."."""

from __future__ import annotations

import re

# Words directly before an answer that make it a bound or an estimate, and what says as much in a question.
_START = ("from", "since", "start", "starting", "begin", "began", "beginning")
_END = ("until", "till", "to", "end")
_LEAST = ("more than", "over", "above", "at least")
_MOST = ("less than", "fewer than", "under", "below", "at most", "up to")
_ABOUT = ("about", "around", "roughly", "nearly", "almost", "approximately")
_OF_DATES = {"from": _START, "until": _END, "till": _END, "end of": ("end",), "after": ("after",)}
_OF_ANY = {word: row for row in (_LEAST, _MOST, _ABOUT) for word in row} | {"to": ("to",)}
_BEFORE = re.compile(rf"\b({'|'.join((*_OF_DATES, *_OF_ANY))})\s+(?:the\s+)?$", re.IGNORECASE)
# What the text itself does not vouch for, and how a question shows that it knows.
_HEARSAY = re.compile(
    r"\b(?:(?:story|legend|tradition|rumou?r)\s(?:says|tells|has\sit)|it\sis\ssaid\sthat|"
    r"(?:is|are|was|were)\s(?:said|believed|rumoured|reputed|supposed)\sto|reportedly|allegedly|supposedly)\b",
    re.IGNORECASE,
)
_DOUBTING = re.compile(
    r"\b(?:story|stories|legends?|tradition|rumou?rs?|said|believed|reputed|supposed|\w+edly)\b", re.I
)


def dropped_limit(question: str, answer: str, quotation: str, is_date: bool) -> str | None:
    """The words before the answer in its sentence that limit it, if the question says nothing of the kind.

    "When did the firm sell the HP-35?" asks for more than "sold from February 1972" tells, and "Who baked
    the first pizza?" for more than "A story says that ... baked".

    Args:
        is_date: whether the answer is a date; "from 44 nations" is no limit.

    Returns:
        Those words in small letters; None also where the quotation does not hold the answer.
    """
    at = quotation.find(answer) if answer else -1
    doubt = _HEARSAY.search(quotation[: max(at, 0)])
    if doubt and not _DOUBTING.search(question):
        return doubt[0].lower()
    found = _BEFORE.search(quotation[:at]) if at > 0 else None
    if found is None:
        return None
    limit = found[1].lower()
    if limit in _OF_DATES and not is_date:
        return None
    said = _OF_DATES.get(limit) or _OF_ANY[limit]
    return None if re.search(rf"\b(?:{'|'.join(said)})\b", question, re.IGNORECASE) else limit
