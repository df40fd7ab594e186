"""What a very small model is shown of a passage: a sentence or two, and answers to choose from."""

from __future__ import annotations

from webscale_rl.answers.normalise import content_words, normalise_answer
from webscale_rl.answers.spans import Span, candidates, sentences

MAX_CHOICES = 6


def context_of(span: Span, passage: str, title: str = "") -> str:
    """The span's sentence, with the one before it where that names the subject."""
    bounds = sentences(passage)
    at = next(
        (i for i, (start, end) in enumerate(bounds) if start <= span.start < end), None
    )
    if at is None or at == 0:
        return span.sentence
    start, _ = bounds[at - 1]
    return passage[start : bounds[at][1]]


def answer_choices(
    question: str, answer: str, answer_type: str, passage: str
) -> tuple[list[str], str]:
    """Answers that the passage offers to a question, and the sentences it is answered from.

    The right answer stands among the others in the passage's order, so its place tells nothing.

    Returns:
        The choices (at least two, else an empty list: nothing to choose) and the context.
    """
    asked = set(content_words(question))
    scored = [
        (-len(asked & set(content_words(passage[start:end]))), start, end)
        for start, end in sentences(passage)
    ]
    best = sorted(sorted(scored)[:2], key=lambda item: item[1])
    context = " ".join(passage[start:end] for _, start, end in best)
    others = [s for s in candidates(passage) if s.answer_type == answer_type] or candidates(passage)
    seen = {normalise_answer(answer): (passage.find(answer), answer)}
    for span in others:
        seen.setdefault(normalise_answer(span.text), (span.start, span.text))
        if len(seen) >= MAX_CHOICES:
            break
    return [text for _, text in sorted(seen.values())], context
