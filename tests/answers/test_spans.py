"""Spans and sentences: what is found, and that whatever is found stands in the passage."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.text.spans import Span, candidates, sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there.", ["One is here.", "Two is there."]),
        ("Dr. Smith met Mr. Jones. They spoke.", ["Dr. Smith met Mr. Jones.", "They spoke."]),
        ("It is 3.14 wide. No. 5 is not.", ["It is 3.14 wide.", "No. 5 is not."]),
        ("J. S. Bach wrote it. It lasts.", ["J. S. Bach wrote it.", "It lasts."]),
        ("He lives in the U.S. and works.", ["He lives in the U.S. and works."]),
        ("Use salt, e.g. Maldon. Stir.", ["Use salt, e.g. Maldon.", "Stir."]),
        ('"Is it so?" he asked. "Yes!" It was.', ['"Is it so?" he asked.', '"Yes!"', "It was."]),
        ("A title\n\nThe text starts here.", ["A title", "The text starts here."]),
        ("A line\nthat goes on. And ends.", ["A line\nthat goes on.", "And ends."]),
        ("Things:\n- one\n- two", ["Things:", "- one", "- two"]),
        ("Wait ... what? Yes.", ["Wait ... what?", "Yes."]),
        ("The U.S. Congress met. It voted.", ["The U.S. Congress met.", "It voted."]),
        ("He asked for vitamin C. It helped him.", ["He asked for vitamin C.", "It helped him."]),
        ("Nobody said no. All agreed.", ["Nobody said no.", "All agreed."]),
        ("2.1. Rivers\n\nIV. Lakes are next.", ["2.1. Rivers", "IV. Lakes are next."]),
        ("How many came? 12. The rest stayed.", ["How many came?", "12.", "The rest stayed."]),
        ("Who did it? I. Then we left.", ["Who did it?", "I.", "Then we left."]),
        ("It fell. I. M. Pei built it.", ["It fell.", "I. M. Pei built it."]),
        ("I. The rest\n  2. It stayed.", ["I. The rest", "2. It stayed."]),
        ("It costs more. $5 is too much. *Why* so?", ["It costs more.", "$5 is too much.", "*Why* so?"]),
        ("Он ушёл в 9 ч. утра. Все спали.", ["Он ушёл в 9 ч. утра.", "Все спали."]),
        ("Он ушёл. — Да, — сказал он.", ["Он ушёл.", "— Да, — сказал он."]),
        ("Er sagte: »Nein.« Dann ging er.", ["Er sagte: »Nein.«", "Dann ging er."]),
        ("ეს არის წიგნი. ის კარგია.", ["ეს არის წიგნი.", "ის კარგია."]),
        ("多瑙河很长。它流经十国。", ["多瑙河很长。", "它流经十国。"]),
        ("no marks at all", ["no marks at all"]),
        ("", []),
        (" \n\n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(st.sampled_from("Ab1 .!?\n-\"'é。(Dr"), max_size=80))
def test_sentences_lose_nothing_and_keep_their_order(text: str) -> None:
    found = sentences(text)
    assert "".join(split(text)).split() == [] or "".join("".join(split(text)).split()) == "".join(
        text.split()
    )
    assert all(first[1] <= second[0] for first, second in pairwise(found))
    assert all(text[start:end] == text[start:end].strip() != "" for start, end in found)


def found(sentence: str, title: str = "") -> dict[str, str]:
    return {span.text: span.kind for span in candidates(sentence, title)}


@pytest.mark.parametrize(
    ("sentence", "text", "kind"),
    [
        ("The canal was opened to ships on 15 August 1914.", "15 August 1914", "date"),
        ("The canal was opened to ships on August 15, 1914.", "August 15, 1914", "date"),
        ("The viaduct was opened to traffic in December 2004.", "December 2004", "date"),
        ("The word was first used in 1614 in Edinburgh.", "1614", "year"),
        ("The proof was first written down in 300 BC there.", "300 BC", "year"),
        ("The mast stands 343.5 metres above the valley floor.", "343.5 metres", "count"),
        ("The lake covers 4,000 square kilometres of wet land.", "4,000 square kilometres", "count"),
        ("About 85 percent of the water came back again.", "85 percent", "percent"),
        ("The buyers paid $7.2 million for the whole land.", "$7.2 million", "money"),
        ("The journey there took them eleven days by boat.", "eleven days", "count"),
        ("The prize was given to 24,862 students that year.", "24,862 students", "count"),
        ("The code was first created by Masahiro Hara for cars.", "Masahiro Hara", "person"),
        ("Leonardo of Pisa introduced the sequence to readers.", "Leonardo of Pisa", "person"),
        ("The algorithm was invented by a student in Moscow.", "Moscow", "place"),
        ("The sum of each line is called the magic constant.", "magic constant", "term"),
        ("The delay of the train was caused by heavy snow.", "heavy snow", "cause"),
        ("Its parts are a pump, a valve and a filter.", "a pump, a valve and a filter", "list"),
    ],
)  # fmt: skip
def test_each_kind_is_found(sentence: str, text: str, kind: str) -> None:
    assert found(sentence).get(text) == kind


def test_units_belong_to_counts_only() -> None:
    spans = candidates("The bridge is 26 metres wide and 85 percent of it was built in 1914.")
    assert {span.kind: span.unit for span in spans} == {"count": "metres", "percent": "", "year": ""}


def test_what_is_no_answer_is_left_out() -> None:
    assert "ten years" not in found("The shop was closed by its owner ten years later.")
    assert "Hawthorne" not in found("The owners began the Hawthorne studies in a factory.")
    assert "Otis" not in found("Elisha Otis demonstrated the brake by cutting the rope.")
    assert "Panama" not in found("The ships now pass through Panama in nine hours.", "Panama")
    assert candidates("A title without an end in 1914 by Ann Lee") == []
    assert candidates("") == []
    assert "22 July 1944" not in found("Delegates from many nations met from 1 to 22 July 1944.")


PASSAGE = (
    "The QR code was created in 1994 by Masahiro Hara of the firm Denso Wave. It was tested for "
    "18 months in Aichi. A code can hold 7,089 digits.\n\nDenso Wave gave up its rights in 1999."
)


def test_best_first_without_overlaps_and_always_the_same() -> None:
    spans = candidates(PASSAGE, "The QR code")
    assert [span.score for span in spans] == sorted((span.score for span in spans), reverse=True)
    assert spans == candidates(PASSAGE, "The QR code")
    ordered = sorted(spans, key=lambda span: span.start)
    assert all(a.end <= b.start for a, b in pairwise(ordered))
    assert {"1994", "Masahiro Hara", "18 months", "7,089 digits", "1999"} <= {s.text for s in spans}
    assert {span.answer_type for span in spans} <= {"number", "date", "name", "span", "list"}


def test_a_sentence_without_its_subject_comes_later() -> None:
    score = {span.text: span.score for span in candidates(PASSAGE)}
    assert score["7,089 digits"] > score["18 months"] * 0.9
    plain = candidates("The machine was built in 1901 by a smith.")[0].score
    leaning = candidates("It was built there in 1901 by a smith.")[0].score
    assert plain > leaning


PIECES = "The It In by was built 1914 12 May metres 3.5 % Ann Lee, Paris and called (the $5 of . ! \n\n ß 日"
WORDS = st.sampled_from(PIECES.split(" "))


@given(st.lists(WORDS, max_size=40), st.text(max_size=10))
def test_spans_are_pieces_of_the_passage(words: list[str], title: str) -> None:
    passage = " ".join(words)
    spans: list[Span] = candidates(passage, title)
    for span in spans:
        assert passage[span.start : span.end] == span.text
        assert span.text in span.sentence
        assert span.sentence in passage
        assert 0 <= span.score <= 1


@pytest.mark.parametrize(
    ("sentence", "no_answer"),
    [
        ("Most of the shrimps are only three to five centimetres long.", "five centimetres"),
        ("The thawing lasts from one to three years in most patients.", "three years"),
        ("The five pupils scored 187 of 210 points on that Saturday.", "210 points"),
        ("Her team had trained on Wednesdays with a retired pilot.", "Wednesdays"),
    ],
)
def test_half_of_a_figure_is_no_answer(sentence: str, no_answer: str) -> None:
    assert no_answer not in found(sentence)


def test_a_hedged_figure_comes_behind_an_exact_one() -> None:
    hedged, exact = (
        candidates(f"The steel disc of the bus weighed {figure} when it was new.")[0].score
        for figure in ("about 1.5 tonnes", "1.5 tonnes")
    )
    assert hedged < exact
