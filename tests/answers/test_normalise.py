"""Normal forms: what becomes one, what stays apart, and that any script is survived."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.text.normalise import (
    content_words,
    fold,
    normalise_answer,
    squeeze,
    stem,
    strip_accents,
    words,
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The golden ratio.", "golden ratio"),
        ("1,000", "1000"),
        ("1 000 000", "1,000,000"),
        ("seven years", "7 years"),
        ("Twenty-five", "25"),
        ("38%", "38 percent"),
        ("343 meters", "343 metres"),
        ("343 m", "343 metres"),
        ("5km", "5 kilometers"),
        ("$5", "5 dollars"),
        ("$3.2bn", "3.2 billion dollars"),
        ("20 °C", "20 degrees Celsius"),
        ("“Liber Abaci”", "liber abaci"),
        ("Xi’an", "Xi'an"),
        ("the host's door", "host door"),
        ("ﬁnd", "find"),
        ("co\u00adoperate", "cooperate"),
        ("\u207b5 °C", "-5 °C"),
    ],
)
def test_spellings_that_meet(a: str, b: str) -> None:
    assert normalise_answer(a) == normalise_answer(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("5", "-5"),
        ("2/3", "23"),
        ("1.5", "15"),
        ("vitamin A", "vitamin"),
        ("5 m", "5 s"),
        ("in 1990", "1990 inch"),
        ("Möbius", "Mobius"),
        ("not soluble", "soluble"),
    ],
)
def test_spellings_that_stay_apart(a: str, b: str) -> None:
    assert normalise_answer(a) != normalise_answer(b)


def test_an_empty_text_has_an_empty_form() -> None:
    assert normalise_answer("") == normalise_answer(" ?! ") == ""
    assert words("…") == []


@given(st.text())
def test_normal_forms_are_idempotent(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once


@given(
    st.lists(
        st.sampled_from(
            [
                "twenty",
                "five",
                "1,000",
                "1",
                "000",
                "a",
                "the",
                "m",
                "km",
                "$5",
                "bn",
                "%",
                "°",
                "c",
                "'s",
                "-",
                "2/3",
                ".",
            ]
        )
    )
)
def test_normal_forms_of_awkward_words_are_idempotent(parts: list[str]) -> None:
    once = normalise_answer(" ".join(parts))
    assert normalise_answer(once) == once


@given(st.text())
def test_any_text_gives_words_without_a_crash(text: str) -> None:
    assert all(words(text))
    assert all(content_words(text))
    assert squeeze(squeeze(text)) == squeeze(text)
    assert fold(fold(text)) == fold(text)
    strip_accents(text)


@pytest.mark.parametrize("normal", [fold, squeeze])
@pytest.mark.parametrize("between", ["1", "\u200d\u0301"])
def test_a_normal_form_of_any_character_is_one(normal: Callable[[str], str], between: str) -> None:
    assigned = (
        c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Co", "Cs")
    )
    once = normal(between.join(assigned))
    assert normal(once) == once


def test_scripts_without_spaces_have_words() -> None:
    assert len(words("北京是中国的首都")) == 8
    assert len(words("กรุงเทพ")) > 1
    assert words("नमस्ते दुनिया") == ["नमस्ते", "दुनिया"]
    assert words("Где родился Чехов?") == ["где", "родился", "чехов"]


def test_words_keep_numbers_whole() -> None:
    assert words("It cost 1,200.50 dollars, didn't it?") == [
        "it",
        "cost",
        "1200.50",
        "dollars",
        "didn't",
        "it",
    ]


def test_content_words_leave_the_function_words_out() -> None:
    assert content_words("How many gears did the Antikythera mechanism have?") == [
        "gear",
        "antikythera",
        "mechanism",
    ]
    assert content_words("What is it?") == []


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("invented", "invent"),
        ("invents", "invent"),
        ("discoveries", "discovery"),
        ("found", "find"),
        ("written", "wrote"),
        ("making", "made"),
        ("used", "uses"),
        ("stopped", "stop"),
        ("children", "child"),
        ("matrices", "matrix"),
        ("boxes", "box"),
        ("ships", "ship"),
    ],
)
def test_stems_that_meet(a: str, b: str) -> None:
    assert stem(a) == stem(b)


@pytest.mark.parametrize(("a", "b"), [("glass", "glas"), ("founded", "find"), ("bus", "bu"), ("sing", "s")])
def test_stems_that_stay_apart(a: str, b: str) -> None:
    assert stem(a) != stem(b)
