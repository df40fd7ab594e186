"""What a small model is shown of a passage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.context import supporting_context

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
