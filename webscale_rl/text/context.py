"""What a very small model is shown of a passage: which spans, which sentences, which choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from webscale_rl.text.normalise import content_words
from webscale_rl.text.spans import Span, candidates, leans, sentences

#: Answers that a forced choice is made from.
MAX_CHOICES = 5
#: Sentences that a question is answered again from.
CONTEXT_SENTENCES = 2
#: Spans of one sentence, and of one kind, that a passage is asked about.
MAX_OF_A_SENTENCE = 2
MAX_OF_A_KIND = 3


def chosen_spans(
    passage: str, title: str = "", kinds: Collection[str] | None = None, count: int = 3
) -> list[Span]:
    """The spans that a passage is asked about, the best first: two of a sentence and three of a kind at most.

    A smaller count gives the beginning of a larger one's list: ordinal n is asked for the n-th.

    Args:
        kinds: only spans of these kinds; None for all.
        count: the maximum; fewer where the passage bears no more.
    """
    chosen: list[Span] = []
    of_sentence: Counter[str] = Counter()
    of_kind: Counter[str] = Counter()
    for span in candidates(passage, title):
        if len(chosen) >= count:
            break
        if kinds is not None and span.kind not in kinds:
            continue
        if of_sentence[span.sentence] >= MAX_OF_A_SENTENCE or of_kind[span.kind] >= MAX_OF_A_KIND:
            continue
        of_sentence[span.sentence] += 1
        of_kind[span.kind] += 1
        chosen.append(span)
    return chosen


def context_of(span: Span, passage: str) -> str:
    """The span's sentence, with the one before it where it leans on that one ("It was ...")."""
    bounds = sentences(passage)
    at = next((i for i, (start, end) in enumerate(bounds) if start <= span.start < end), 0)
    if at == 0 or not leans(span.sentence):
        return span.sentence
    start, end = bounds[at - 1]
    return f"{passage[start:end]} {span.sentence}"


def supporting_context(sentence: str, passage: str) -> str:
    """A sentence with what a reader needs to understand it: the passage's first sentence, which names what
    it is about, and the sentence before; the sentence alone if it does not stand in the passage.

    Args:
        sentence: a sentence of the passage, or a part of one.
    """
    at = passage.find(sentence)
    if at < 0 or not sentence:
        return sentence
    bounds = sentences(passage)
    last = at + len(sentence) - 1
    touched = [i for i, (start, end) in enumerate(bounds) if start <= last and end > at]
    if not touched:
        return sentence
    shown = sorted({0, max(touched[0] - 1, 0), *touched})
    return " ".join(" ".join(passage[start:end].split()) for start, end in (bounds[i] for i in shown))


def answer_choices(question: str, answer: str, answer_type: str, passage: str) -> tuple[list[str], str]:
    """Answers that the passage offers to a question, and the sentences it is answered from.

    Returns:
        The answer among other spans of its type, those of the best sentences and of the same unit
        first chosen, then in the alphabet's order, so that its place tells nothing; and the sentences
        that share most words with the question. Fewer than two choices where the passage has no
        other span.
    """
    asked = set(content_words(question))
    scored = []
    for start, end in sentences(passage):
        words = set(content_words(passage[start:end]))
        # Of two sentences with as many of the question's words the shorter says it more plainly.
        scored.append((-len(asked & words) / (1 + 0.01 * len(words)), start, end))
    best = sorted((start, end) for _, start, end in sorted(scored)[:CONTEXT_SENTENCES])
    context = " ".join(passage[start:end] for start, end in best)

    found = candidates(passage)
    unit = next((span.unit for span in found if span.text == answer), "")

    def order(span: Span) -> tuple[bool, bool, bool]:
        within = any(start <= span.start < end for start, end in best)
        return (span.answer_type != answer_type, not within, bool(unit) and span.unit != unit)

    choices = [answer]
    for span in sorted(found, key=order):
        if len(choices) >= MAX_CHOICES:
            break
        # Spans of another type are no real alternative: only where there is nothing better.
        if span.answer_type != answer_type and len(choices) >= 2:
            break
        if all(span.text not in other and other not in span.text for other in choices):
            choices.append(span.text)
    return sorted(choices), context
