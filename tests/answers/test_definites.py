"""Bare definites in questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.config.load import load
from webscale_rl.stages.check.gates.definites import bare_definite
from webscale_rl.stages.check.gates.rules import PairView, near_answer


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


@pytest.mark.parametrize(
    ("question", "answer", "quotation", "reason"),
    [
        (
            "When did the Plitvice Lakes form?",
            "8 April 1949",
            "The Plitvice Lakes form the oldest national park in Croatia, which was founded on 8 April 1949.",
            "answer_from_elsewhere",
        ),
        (
            "When was the national park of the Plitvice Lakes founded?",
            "8 April 1949",
            "The Plitvice Lakes form the oldest national park in Croatia, which was founded on 8 April 1949.",
            None,
        ),
        ("Who signed the GI Bill in 1944?", "Franklin Roosevelt", "Franklin Roosevelt signed it.", None),
        ("Is the park old?", "yes", "The park is old.", None),
        ("Who wrote Faust?", "Goethe", "", None),
    ],
)
def test_a_question_asks_about_what_stands_beside_its_answer(
    question: str, answer: str, quotation: str, reason: str | None
) -> None:
    kind = "yes_no" if answer == "yes" else "date" if answer[0].isdigit() else "name"
    pair = PairView(question, answer, kind, quotation, quotation)
    assert near_answer(pair, load().check.rules) == reason
