"""What limits an answer in its sentence: "until 1903", "more than 40 tonnes", "A story says that ..."."""

from __future__ import annotations

import re

from webscale_rl.answers.types import DATE, NUMBER

_Words = tuple[str, ...]
_START: _Words = ("from", "since", "start", "starting", "begin", "began", "beginning")
_END: _Words = ("until", "till", "by", "before", "end", "ended")
_MINIMUM: _Words = ("more than", "over", "above", "at least")
_MAXIMUM: _Words = ("no more than", "less than", "fewer than", "under", "below", "at most", "up to")
_ABOUT: _Words = ("about", "around", "roughly", "nearly", "almost", "approximately", "some")
# Words directly before an answer that make it a bound or an estimate, and what says as much in a question.
_SAID: dict[str, dict[str, _Words]] = {
    DATE: {
        **dict.fromkeys(("from", "since"), _START),
        **dict.fromkeys(("until", "till", "to", "by", "before", "end of"), _END),
        **dict.fromkeys(_ABOUT, _ABOUT),
        "after": ("after",),
    },
    NUMBER: {word: row for row in (_MAXIMUM, _MINIMUM, _ABOUT) for word in row},
}
# The longest first: "no more than" is not "more than".
_LIMIT = {
    kind: re.compile(rf"\b({'|'.join(sorted(said, key=len, reverse=True))})\s+(?:the\s+)?$", re.IGNORECASE)
    for kind, said in _SAID.items()
}
# What the text itself does not vouch for, and how a question shows that it knows.
_HEARSAY = (
    r"\b(?:(?:story|legend|tradition|rumou?r)\s(?:says|tells|has\sit)|it\sis\ssaid\sthat|"
    r"(?:is|are|was|were)\s(?:said|believed|rumou?red|reputed|supposed)\sto|reportedly|allegedly|supposedly)\b"
)
_TOLD = re.compile(_HEARSAY, re.IGNORECASE)
_TOLD_OF_IT = re.compile(rf"\s*{_HEARSAY}", re.IGNORECASE)
_DOUBTING = re.compile(
    r"\b(?:story|stories|legends?|tradition|rumou?r\w*|said|believed|reputed|supposed|reportedly|allegedly|"
    r"supposedly)\b",
    re.IGNORECASE,
)


def dropped_limit(question: str, answer: str, answer_type: str, quotation: str) -> str | None:
    """What limits the answer in its sentence, if the question says nothing of the kind.

    "When did the firm sell the HP-35?" asks for more than "sold from February 1972" tells, and "Who baked
    the first pizza?" for more than "A story says that ... baked". Bounds and estimates are looked for before
    dates and numbers only ("moved to Paris" is no limit), hearsay before any answer or directly behind it.

    Args:
        answer_type: one of `webscale_rl.answers.types.ANSWER_TYPES`.

    Returns:
        The limiting words in small letters; None also where the quotation does not hold the answer.
    """
    at = quotation.find(answer) if answer else -1
    if at < 0:
        return None
    before = quotation[:at]
    doubt = _TOLD.search(before) or _TOLD_OF_IT.match(quotation, at + len(answer))
    if doubt and not _DOUBTING.search(question):
        return doubt[0].strip().lower()
    found = _LIMIT[answer_type].search(before) if answer_type in _LIMIT else None
    if found is None:
        return None
    limit = found[1].lower()
    said = "|".join(_SAID[answer_type][limit])
    return None if re.search(rf"\b(?:{said})\b", question, re.IGNORECASE) else limit
