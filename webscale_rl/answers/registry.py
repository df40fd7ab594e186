"""The types of answers: one object each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from webscale_rl.answers.compare import COMPARISONS, Agreement, guarded_agreement
from webscale_rl.answers.types import (
    DATE,
    FORMULA,
    LIST,
    MAX_CHARACTERS,
    MAX_WORDS,
    MULTIPLE_CHOICE,
    NAME,
    NUMBER,
    SHAPES,
    SPAN,
    YES_NO,
)
from webscale_rl.core.registry import Registry
from webscale_rl.text.normalise import words


@dataclass(frozen=True, eq=False)
class AnswerType:
    """One type of answers.

    Attributes:
        name: what pairs declare, and prompts ask for.
        line: what a prompt says of it.
        shape: whether a text (with at least one word) has the shape of such an answer.
        compare: whether an expected and a given answer agree.
        max_words: longest answer in words; None for no limit.
        version: goes up when other texts conform or agree.
    """

    name: str
    line: str
    shape: Callable[[str], bool]
    compare: Callable[[str, str], Agreement]
    max_words: int | None = None
    version: int = 1

    def conforms(self, answer: str) -> bool:
        """Whether an answer is of this type."""
        if len(answer) > MAX_CHARACTERS:
            return False
        found = words(answer)
        if not found or (self.max_words is not None and len(found) > self.max_words):
            return False
        return self.shape(answer)

    def agrees(self, expected: str, given: str) -> Agreement:
        """Whether a given answer is the expected one."""
        return guarded_agreement(expected, given, self.compare)


#: Every type of answers by name.
ANSWER_TYPES: Registry[AnswerType] = Registry("answer type")

_LINES = {
    NUMBER: 'with its unit, such as "73.15 metres", "42 days", "60 credits"',
    DATE: 'as exact as the document gives it, such as "12 July 1929" or "1899"',
    NAME: "of a person, place, organisation, work or product",
    SPAN: "another word or phrase, copied from the document",
    FORMULA: 'in plain characters, such as "A = i + b/2 - 1"; the question explains every symbol',
    LIST: "two to six items separated by commas; the question says how many",
    MULTIPLE_CHOICE: "the question ends with four options A) B) C) D), of which one is right; the answer is "
    'its letter and text, such as\n  "B) 600 metres"; the wrong options are plausible and of the same kind',
    YES_NO: '"yes" or "no" and nothing else',
}
for _name, _line in _LINES.items():
    ANSWER_TYPES.register(AnswerType(_name, _line, SHAPES[_name], COMPARISONS[_name], MAX_WORDS.get(_name)))


def adopt(types: Iterable[AnswerType]) -> None:
    """Make known to this process what another one knows: a Python worker gets its types with its work."""
    for kind in types:
        # A notebook may have given the name to another object since this worker last worked for it.
        ANSWER_TYPES.replace(kind)


def conforms(answer: str, answer_type: str) -> bool:
    """Whether an answer has the shape of its declared type; to an unknown type nothing conforms."""
    return answer_type in ANSWER_TYPES and ANSWER_TYPES.get(answer_type).conforms(answer)


def agree(expected: str, given: str, answer_type: str) -> Agreement:
    """Compare a given answer with the expected one.

    Args:
        expected: the answer of the pair.
        given: the answer to test. It may be more precise than expected where the type has degrees
            of precision (a date); it may not be less precise.

    Raises:
        ConfigError: the answer type is unknown.
    """
    return ANSWER_TYPES.get(answer_type).agrees(expected, given)


def prompt_lines() -> str:
    """The types as a prompt lists them: ``- name: line`` each."""
    lines = [f"- {kind.name}: {kind.line}" for kind in ANSWER_TYPES]
    return ";\n".join(lines) + "."
