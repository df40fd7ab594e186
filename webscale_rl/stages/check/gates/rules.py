"""Rule gates: what can be said against a question-answer pair without asking a model.

Each gate is one pure function of a pair and the settings that returns a reason, or None if it has
nothing against the pair. They read English; where a question is written in another script most of
them have nothing to say. The list of gates follows what was found to separate good questions of
small models from bad ones: answers given away, references to a text that nobody sees who is asked,
pronouns without antecedent, words that the passage does not have, questions beside the fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field
from rapidfuzz.distance import Indel

from webscale_rl.answers.compare import formula_key
from webscale_rl.answers.quantities import find_quantities, same_quantity
from webscale_rl.answers.registry import conforms
from webscale_rl.answers.types import DATE, FORMULA, LIST, MULTIPLE_CHOICE, NAME, NUMBER, YES_NO, split_items
from webscale_rl.core.settings import Section
from webscale_rl.stages.check.gates.base import GATES, PairView, RuleGate, rule
from webscale_rl.stages.check.gates.definites import bare_definite
from webscale_rl.stages.check.gates.limits import dropped_limit
from webscale_rl.stages.check.gates.questions import (
    answer_fits_question_word,
    is_asking,
    question_word,
    read_question,
)
from webscale_rl.stages.check.gates.references import dangles, refers_to_text
from webscale_rl.stages.check.gates.vocabulary import _SCAFFOLD_STEMS, _vocabulary
from webscale_rl.text.control_tokens import restore
from webscale_rl.text.normalise import content_words, normalise_answer, squeeze, words
from webscale_rl.text.sentences import sentences_of_lines

#: Content words on either side of the answer that its question may take up.
_NEAR_WORDS = 3
#: Words of a question and a sentence that are compared: the comparison takes the product of their numbers.
_COMPARED_WORDS = 1000


class GateSettings(Section):
    """Thresholds and word lists of the rule gates."""

    question_min_words: int = Field(ge=1, description="Minimum words of a question.")
    question_max_words: int = Field(ge=1, description="Maximum words of a question.")
    answer_min_words: int = Field(ge=1, description="Minimum words of an answer.")
    answer_max_words: int = Field(ge=1, description="Maximum words of an answer.")
    leak_share: float = Field(
        gt=0,
        le=1,
        description="A question with at least this share of the answer's content words leaks it.",
    )
    support_share: float = Field(
        gt=0, le=1, description="Minimum share of the answer's content words in the quotation."
    )
    quotation_min_words: int = Field(ge=1, description="Minimum words of a quotation.")
    novel_words_allowed: int = Field(
        ge=0, description="Maximum of the question's content words that are in neither passage nor title."
    )
    novel_names_allowed: int = Field(
        ge=0,
        description="Maximum of the question's names and numbers that are in neither passage nor title.",
    )
    shared_words_min: int = Field(
        ge=0, description="Minimum of content words that question and quotation share."
    )
    repeated_ngram_words: int = Field(
        ge=2, description="A question must not repeat an n-gram of this many words."
    )
    copied_similarity: float = Field(
        gt=0,
        le=1,
        description="A question with at least this word similarity to a sentence of the passage is a copy.",
    )
    text_nouns: tuple[str, ...] = Field(
        description="Nouns for the source text or its writer, which a question must not mention."
    )
    bare_nouns: tuple[str, ...] = Field(
        description="Nouns that identify nothing as a bare 'the ...' in a question without a name."
    )


@rule(
    reasons=(
        "question_too_short",
        "question_too_long",
        "answer_too_short",
        "answer_too_long",
        "not_a_question",
    )
)
def lengths(pair: PairView, settings: GateSettings) -> str | None:
    """Question and answer within their lengths, and the question is one."""
    asked, answered = len(words(pair.question)), len(words(pair.answer))
    if asked < settings.question_min_words:
        return "question_too_short"
    if asked > settings.question_max_words:
        return "question_too_long"
    # A formula may consist of signs only; it still says something.
    if answered < settings.answer_min_words and not (answered == 0 and formula_key(pair.answer)):
        return "answer_too_short"
    if answered > settings.answer_max_words:
        return "answer_too_long"
    if not is_asking(pair.question) and pair.answer_type != MULTIPLE_CHOICE:
        return "not_a_question"
    return None


@rule()
def answer_leak(pair: PairView, settings: GateSettings) -> str | None:
    """The question does not give its answer away."""
    if pair.answer_type in (YES_NO, MULTIPLE_CHOICE):
        return None  # the options stand in the question
    if pair.answer_type == FORMULA:
        key = formula_key(pair.answer)
        return "answer_leak" if len(key) > 2 and key in formula_key(pair.question) else None
    asked = set(content_words(pair.question))
    if pair.answer_type in (NUMBER, DATE):
        # What is counted stands in a good question ("How many gears ..."), the number does not.
        numbers, given = find_quantities(pair.answer), find_quantities(pair.question)
        if numbers:
            leaks = all(any(same_quantity(n, q) for q in given) for n in numbers)
            return "answer_leak" if leaks else None
    if _CODE.search(pair.answer):
        return "answer_leak" if squeeze(pair.answer) in squeeze(pair.question) else None
    # A name may hold what is else a function word ("Per Lindholm", "The Who").
    answer = words(pair.answer) if pair.answer_type == NAME else content_words(pair.answer)
    asked |= set(words(pair.question)) if pair.answer_type == NAME else set()
    if not answer:
        plain = normalise_answer(pair.answer)
        leaks = bool(plain) and f" {plain} " in f" {normalise_answer(pair.question)} "
        return "answer_leak" if leaks and len(plain.split()) > 1 else None
    share = sum(word in asked for word in answer) / len(answer)
    return "answer_leak" if share >= settings.leak_share else None


@rule()
def passage_reference(pair: PairView, settings: GateSettings) -> str | None:
    """The question does not speak of the text it was made from."""
    found = refers_to_text(pair.question, pair.passage, settings.text_nouns)
    return "passage_reference" if found else None


@rule()
def dangling_reference(pair: PairView, settings: GateSettings) -> str | None:
    """The question says what it is about: no pronoun without antecedent, no bare "the study"."""
    context = f"{pair.title}. {pair.passage}"
    return "dangling_reference" if dangles(pair.question, context, settings.bare_nouns) else None


@rule("bare_definite")
def bare_definite_gate(pair: PairView, settings: GateSettings) -> str | None:
    """No noun stands bare behind "the": a strict gate, for models that forget to say which."""
    return "bare_definite" if bare_definite(pair.question) else None


@rule(
    reasons=(
        "quotation_missing",
        "quotation_too_short",
        "quotation_without_answer",
    )
)
def quotation(pair: PairView, settings: GateSettings) -> str | None:
    """The quotation stands in the passage and supports the answer."""
    # A model copies what a prompt shows, escaped control tokens included.
    quoted = squeeze(restore(pair.quotation, pair.passage))
    if not words(quoted) or quoted.casefold() not in squeeze(pair.passage).casefold():
        return "quotation_missing"
    if len(words(quoted)) < settings.quotation_min_words:
        return "quotation_too_short"
    if pair.answer_type in (YES_NO, MULTIPLE_CHOICE, FORMULA):
        return None
    return None if _supports(quoted, pair, settings) else "quotation_without_answer"


def _supports(quoted: str, pair: PairView, settings: GateSettings) -> bool:
    answer = normalise_answer(pair.answer)
    if answer and f" {answer} " in f" {normalise_answer(quoted)} ":
        return True
    values = {q.value for q in find_quantities(quoted)}
    if any(q.value not in values for q in find_quantities(pair.answer)):
        return False
    if pair.answer_type == NUMBER:
        return bool(find_quantities(pair.answer))
    held = set(content_words(quoted))
    parts = split_items(pair.answer) if pair.answer_type == LIST else [pair.answer]
    for part in parts:
        wanted = content_words(part)
        if not wanted or sum(word in held for word in wanted) / len(wanted) < settings.support_share:
            return False
    return bool(parts)


@rule(reasons=("answer_type_mismatch",))
def answer_type(pair: PairView, settings: GateSettings) -> str | None:
    """The answer is of the type that it is declared to be."""
    return None if conforms(pair.answer, pair.answer_type) else "answer_type_mismatch"


@rule("question_word", reasons=("question_word_mismatch",))
def question_word_fits(pair: PairView, settings: GateSettings) -> str | None:
    """ "Who" is answered by a name, "when" by a time, "how many" by a number."""
    fits = answer_fits_question_word(read_question(pair.question), pair.answer, pair.answer_type)
    return None if fits else "question_word_mismatch"


@rule()
def novel_words(pair: PairView, settings: GateSettings) -> str | None:
    """The question brings in no names, numbers or other words that the passage does not have."""
    known = _vocabulary(f"{pair.title}\n{pair.passage}")
    asked = _stem_of_question(pair)
    names = {stem for name in read_question(pair.question).names for stem in content_words(name)}
    if pair.answer_type == LIST:  # "Which five instruments ...": the number of the answers
        count = str(len(split_items(pair.answer)))
        asked = [word for word in asked if word != count]
    new_names = new_words = 0
    for word in dict.fromkeys(asked):
        if known.has(word):
            continue
        if word in names or word[:1].isdecimal():
            new_names += 1
        elif word not in _SCAFFOLD_STEMS:
            new_words += 1
    if new_names > settings.novel_names_allowed or new_words > settings.novel_words_allowed:
        return "novel_words"
    return None


@rule(reasons=("shared_words_too_few",))
def shared_words(pair: PairView, settings: GateSettings) -> str | None:
    """The question is about the fact that is quoted: they share content words.

    A quotation that leans on what stands before it ("It weighs 760 kilograms") leaves its subject
    to the title or the first sentence; those words count as well, beside one of its own.
    """
    asked = set(_stem_of_question(pair))
    own = {word for word in asked if _vocabulary(pair.quotation).has(word)}
    shared = len(own)
    if own and _LEANS.search(pair.quotation):
        topic = _vocabulary(f"{pair.title}\n{next(iter(sentences_of_lines(pair.passage)), '')}")
        shared += sum(topic.has(word) for word in asked - own)
    # "Where is Summerhill?" has but one word to share.
    needed = min(settings.shared_words_min, len(asked))
    return "shared_words_too_few" if shared < needed else None


@rule()
def repetition(pair: PairView, settings: GateSettings) -> str | None:
    """The question does not say the same words again."""
    found = words(pair.question)
    size = settings.repeated_ngram_words
    grams = [tuple(found[i : i + size]) for i in range(len(found) - size + 1)]
    if len(set(grams)) < len(grams):
        return "repetition"
    return "repetition" if _DOUBLED.search(pair.question) else None


@rule()
def copied_sentence(pair: PairView, settings: GateSettings) -> str | None:
    """The question is no sentence of the passage with a question mark."""
    asked = words(pair.question)
    plain = asked[1:] if read_question(pair.question).word and len(asked) > 3 else asked
    for sentence in (*sentences_of_lines(pair.passage), pair.quotation):
        said = words(sentence)
        if not said:
            continue
        # Behind a question word only the whole sentence counts: a question about its subject
        # shares all the rest with it.
        similar = said == plain if plain is not asked else False
        if similar or _similarity(asked, said) >= settings.copied_similarity:
            return "copied_sentence"
    return None


def _similarity(asked: list[str], said: list[str]) -> float:
    """The words that two texts share in their order, 0 to 1; of very long ones their beginnings count."""
    shorter, longer = sorted((len(asked), len(said)))
    if longer <= _COMPARED_WORDS:
        return Indel.normalized_similarity(asked, said)
    beginnings = Indel.normalized_similarity(asked[:_COMPARED_WORDS], said[:_COMPARED_WORDS])
    return min(2 * shorter / (shorter + longer), beginnings)


@rule(reasons=("answer_from_elsewhere",))
def near_answer(pair: PairView, settings: GateSettings) -> str | None:
    """The question asks about what stands beside the answer in its sentence.

    Of the three content words before the answer and the three behind it, one must be in the question: a
    small model else pairs an answer with another part of the sentence ("When did the lakes form?" from
    "The lakes form the oldest park, which was founded in 1949"). Strict: a free rephrasing fails too.
    """
    at = pair.quotation.find(pair.answer)
    if at < 0 or pair.answer_type in (YES_NO, MULTIPLE_CHOICE, FORMULA):
        return None
    before = content_words(pair.quotation[:at])[-_NEAR_WORDS:]
    behind = content_words(pair.quotation[at + len(pair.answer) :])[:_NEAR_WORDS]
    given = set(content_words(pair.answer))
    asked = _vocabulary(pair.question)
    beside = [word for word in (*before, *behind) if word not in given]
    return None if not beside or any(asked.has(word) for word in beside) else "answer_from_elsewhere"


@rule("dropped_limit", reasons=("limit_dropped",))
def dropped_limit_gate(pair: PairView, settings: GateSettings) -> str | None:
    """The question says what limits the answer in its sentence: until, more than, about, "it is said".

    Strict: a figure with its "about" left out passes for many readers.
    """
    limit = dropped_limit(pair.question, pair.answer, pair.answer_type, pair.quotation)
    return "limit_dropped" if limit else None


def rule_gates() -> list[RuleGate]:
    """Every gate that is a rule."""
    return [gate for gate in GATES if isinstance(gate, RuleGate)]


def evaluate(pair: PairView, gates: Iterable[RuleGate], settings: Any) -> dict[str, str | None]:
    """Run some rule gates, in the order given.

    Args:
        settings: of the check.

    Returns:
        Name of the gate to its reason, or None where it has nothing against the pair.
    """
    return {gate.name: gate.judge(pair, gate.own_settings(settings)) for gate in gates}


def same_question(a: str, b: str) -> bool:
    """Whether two questions ask the same: word for word, or the same content words in any order
    behind the same question word."""
    left, right = words(a), words(b)
    if left and left == right:
        return True
    content = frozenset(content_words(a))
    if not content or content != frozenset(content_words(b)):
        return False
    return question_word(a) == question_word(b)


# "had had" and "that that" are grammar; "NULL = NULL" has a sign between.
_DOUBLED = re.compile(r"\b(?!(?:had|that)\b)([a-z]{2,})\s+\1\b", re.I)
_CODE = re.compile(r"(?:^|\s)[-_./\\]\w|\w[_/\\:]+\w|\w\(\)")
_LEANS = re.compile(r"\b(?:it|its|he|his|him|she|her|they|their|them|this|these|both|there|the)\b", re.I)


def _stem_of_question(pair: PairView) -> list[str]:
    """Content words of the question, options of a multiple choice left out."""
    question = pair.question
    if pair.answer_type == MULTIPLE_CHOICE:
        question = re.split(r"\n|\s[(\[]?A[)\].:]\s", question, maxsplit=1)[0] or question
    return content_words(question)
