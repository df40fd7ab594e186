"""What a small model is shown of a passage."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.text.context import MAX_OF_A_KIND, MAX_OF_A_SENTENCE, chosen_spans, supporting_context

PASSAGE = (
    "Ash is a volcano. It slept for a century.\n\nThen it woke in 1901. Nobody was hurt. It sleeps again."
)


@pytest.mark.parametrize(
    ("sentence", "context"),
    [
        ("Ash is a volcano.", "Ash is a volcano."),
        ("It slept for a century.", "Ash is a volcano. It slept for a century."),
        ("Nobody was hurt.", "Ash is a volcano. Then it woke in 1901. Nobody was hurt."),
        ("woke in 1901", "Ash is a volcano. It slept for a century. Then it woke in 1901."),
        ("1901. Nobody", "Ash is a volcano. It slept for a century. Then it woke in 1901. Nobody was hurt."),
        ("Somewhere else.", "Somewhere else."),
        ("", ""),
    ],
)
def test_a_sentence_comes_with_what_introduces_it(sentence: str, context: str) -> None:
    assert supporting_context(sentence, PASSAGE) == context


@given(st.text(max_size=30), st.text(max_size=200))
def test_any_text_has_a_context(sentence: str, passage: str) -> None:
    assert isinstance(supporting_context(sentence, passage), str)


BRIDGES = (
    "The Alder Bridge was built by Hanna Lindqvist in 1904. The Birch Bridge was opened in 1911. "
    "The Cedar Bridge was closed in 1922. The Elm Bridge was finished in 1934. "
    "The Fir Bridge was painted in 1951."
)


def test_a_passage_is_asked_about_different_things() -> None:
    def asked_about(count: int) -> list[str]:
        return [span.text for span in chosen_spans(BRIDGES, kinds=["person", "year"], count=count)]

    assert asked_about(3) == ["Hanna Lindqvist", "1904", "1911"], "two of one sentence"
    assert asked_about(9) == ["Hanna Lindqvist", "1904", "1911", "1922"], "three years"


@given(passage=st.sampled_from([BRIDGES, PASSAGE, BRIDGES + " " + PASSAGE]), count=st.integers(0, 12))
def test_fewer_spans_are_the_beginning_of_more(passage: str, count: int) -> None:
    chosen = chosen_spans(passage, count=count)
    assert chosen == chosen_spans(passage, count=count + 1)[:count]
    assert len(set(chosen)) == len(chosen) <= count
    assert max(Counter(span.sentence for span in chosen).values(), default=0) <= MAX_OF_A_SENTENCE
    assert max(Counter(span.kind for span in chosen).values(), default=0) <= MAX_OF_A_KIND
