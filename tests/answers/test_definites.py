"""Bare definites in questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.definites import bare_definite


@pytest.mark.parametrize(
    ("question", "noun"),
    [
        ("In what year did Milgram publish the results?", "results"),
        ("Who designed the bridge but did not see the work begin?", "bridge"),
        ("Who built the third tower between 1756 and 1759?", "tower"),
        ("Who isolated the vitamin and obtained large amounts of it in Hungary?", "vitamin"),
        ("Who repeated the study in California in 2006?", "study"),
    ],
)
def test_a_noun_that_nothing_explains_is_found(question: str, noun: str) -> None:
    assert bare_definite(question) == noun


@pytest.mark.parametrize(
    "question",
    [
        "Who designed the Brooklyn Bridge?",
        "When did the canal between the Rhine and the Danube open?",
        "In what year did John Napier publish the first table of logarithms?",
        "Who published the relational model in June 1970?",
        "How far is the moon from the earth?",
        "What is the capital of Peru?",
        "What is the largest lake in Africa?",
        "Who wrote Faust?",
        "",
    ],
)
def test_a_noun_that_is_explained_or_known_is_none(question: str) -> None:
    assert bare_definite(question) is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    bare_definite(text)
