"""The kernel of the segment stage, without Spark."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webscale_rl.stages.segment.cut import (
    PASSAGE_SCHEMA,
    Budget,
    passage_batches,
    passages,
    passages_function,
)

SMALL = Budget(max_tokens=20, min_tokens=5, chars_per_token=4.0)


def cut(text: str, budget: Budget = SMALL) -> list[str]:
    return [text[start:end] for start, end, _ in passages(text, budget)]


def assert_complete(text: str, budget: Budget) -> None:
    """Nothing but whitespace is left out, and every passage is within the budget."""
    at = 0
    for start, end, tokens in passages(text, budget):
        assert at <= start < end
        assert text[at:start].strip() == ""
        piece = text[start:end]
        assert piece == piece.rstrip()
        indentation = piece[: len(piece) - len(piece.lstrip())]
        assert not indentation or (text[:start][-1:] in ("", "\n") and "\n" not in indentation)
        assert 1 <= tokens <= budget.max_tokens
        at = end
    assert text[at:].strip() == ""


def test_a_text_within_the_budget_is_one_passage_without_blank_lines_around() -> None:
    assert passages("\n \nOne short paragraph.\n\nAnd another.\n", SMALL) == [(3, 37, 9)]
    assert passages("  One short paragraph.\n\nAnd another.\n", SMALL) == [(0, 36, 9)]


@pytest.mark.parametrize("text", ["", " ", "\n\n \t\u00a0\n"])
def test_whitespace_gives_no_passage(text: str) -> None:
    assert passages(text, SMALL) == []


def test_paragraphs_stay_whole_where_they_fit() -> None:
    first = "The first paragraph has two sentences. It ends here."
    second = "The second one is about as long. It ends here too."
    third = "And the third one closes the text. That is all of it."
    assert cut(f"{first}\n\n{second}\n \n\n{third}") == [first, second, third]


def test_a_paragraph_over_the_budget_is_cut_between_sentences() -> None:
    text = (
        "Dr. J. Smith measured 3.5 metres, e.g. on Monday. The river was high then. "
        "Nobody had seen it so high before. The town was warned in time."
    )
    assert cut(text) == [
        "Dr. J. Smith measured 3.5 metres, e.g. on Monday. The river was high then.",
        "Nobody had seen it so high before. The town was warned in time.",
    ]


ABBREVIATED = (
    "It opened on Jan. 5 that year.",
    "The U.S. Army built it once.",
    "The road leads to Mt. Rainier.",
    "It is No. 7 on the list.",
    "Its plan is Fig. 2 of the book.",
    "It weighs approx. 40 tonnes.",
    "Then J. R. Smith drew it.",
    "Some parts, e.g. this, are iron.",
    "He was born in St. Paul.",
    "The Rt. Hon. Col. Fox came too.",
    "Maj. Gen. Lee (b. 1807) saw it.",
    "It was in Vol. IV by A. Bell.",
    "She moved to the U.N. Plaza.",
    "He lived in Washington D.C. then.",
    "They wrote to Acme Inc. Ohio.",
    "See Bell et al. 1990 on this.",
    "He took the Ph.D. Degree there.",
)


@pytest.mark.parametrize("sentence", ABBREVIATED)
def test_no_passage_ends_behind_an_abbreviation(sentence: str) -> None:
    """Every budget cuts the paragraph elsewhere; nearest to the middle is the abbreviation."""
    text = f"The first sentence says a few words. {sentence} The last sentence says a few words."
    whole = (len(text) + 3) // 4
    for most in range(len(sentence) // 4 + 1, whole):
        for piece in cut(text, Budget(most, 0, 4.0)):
            inside = sentence.find(piece[-5:])
            assert inside < 0 or piece.endswith(sentence), (most, piece)


def test_a_letter_before_a_sentence_stays_with_it() -> None:
    text = "Was it really a fraud? A. By no means was it one. Q. But who was paid?"
    assert cut(text, Budget(9, 0, 4.0)) == [
        "Was it really a fraud?",
        "A. By no means was it one.",
        "Q. But who was paid?",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "He has moved to the U.S. It was cheaper then.",
        "The firm was called Acme Inc. The owner sold it.",
        "They went there last Dec. He came as well.",
        "He came at 5 p.m. They had left by then.",
        "Nobody there said no. Even the mayor did.",
        "It is World War I. That was the worst of it.",
        "She studied modern art. Painters taught her.",
    ],
)
def test_a_sentence_may_end_with_an_abbreviation(text: str) -> None:
    assert len(cut(text, Budget(8, 0, 4.0))) == 2


def test_a_sentence_over_the_budget_is_cut_between_lines_and_then_words() -> None:
    lines = "one line without any stop at all\nanother line that has none either\na third line of this sort"
    assert cut(lines, Budget(12, 0, 4.0)) == lines.split("\n")
    words = " ".join(["word"] * 60)
    pieces = cut(words)
    assert " ".join(pieces) == words
    assert {len(piece) for piece in pieces} == {74}


def test_a_word_over_the_budget_is_cut_inside_and_evenly() -> None:
    pieces = cut("x" * 200)
    assert "".join(pieces) == "x" * 200
    assert [len(piece) for piece in pieces] == [66, 67, 67]


def test_no_cut_inside_a_joined_emoji_or_before_an_accent() -> None:
    family = "👨\u200d👩\u200d👧"
    for piece in cut(family * 40, Budget(6, 0, 1.0)):
        assert "\u200d" not in (piece[0], piece[-1])
    for piece in cut("e\u0301" * 90, Budget(3, 0, 1.0)):
        assert piece[0] == "e"


def test_chinese_is_cut_after_its_full_stops_and_counted_by_character() -> None:
    sentence = "多瑙河是欧洲第二长河。"
    spans = passages(sentence * 4, SMALL)
    assert [(end - start, tokens) for start, end, tokens in spans] == [(11, 11)] * 4


def test_a_tiny_tail_is_evened_out() -> None:
    long = "The first sentence is here now. The second sentence is here now. Then it ends."
    pieces = cut(f"{long}\n\nThe tail.")
    assert pieces == [
        "The first sentence is here now.",
        "The second sentence is here now. Then it ends.\n\nThe tail.",
    ]


def test_a_small_piece_that_fits_joins_its_neighbour() -> None:
    big = "x" * 79
    assert cut(f"{big}\n\nsmall one.\n\n{'A sentence of words. ' * 2}") == [
        big,
        "small one.\n\nA sentence of words. A sentence of words.",
    ]


def test_a_heading_goes_with_the_paragraph_under_it() -> None:
    body = "Its paragraph has some words in it, and ends."
    assert cut(f"{body}\n\nThe heading\n\n{body}") == [body, f"The heading\n\n{body}"]


CODE = "    def tides(path):\n        with open(path) as f:\n            return f.read()"


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        (f"The function below reads a table of tides.\n\n{CODE}", Budget(20, 0, 4.0)),
        (f"The function below reads a table of tides.\n\n{CODE}", Budget(9, 0, 4.0)),
        (f"The function below reads a table of tides.\n{CODE}", Budget(11, 0, 4.0)),
        ("One line of text is here.\n\n\t- a tab before\n\t- each of these", Budget(8, 0, 4.0)),
        ("The first sentence ends.\n    The second is indented. And a third.", Budget(8, 0, 4.0)),
        ("Some words are here.\n\n\u3000多瑙河是欧洲第二长河。", Budget(12, 0, 4.0)),
        (f"Some words are here.\n\n    {'word ' * 30}", Budget(9, 4, 4.0)),
        (f"Some words are here.\n\n    {'x' * 99}", Budget(9, 4, 4.0)),
        (f"{CODE}\n\n{CODE}", Budget(20, 0, 4.0)),
        (f"{CODE}\n\n{CODE}", Budget(9, 0, 4.0)),
    ],
)
def test_a_passage_keeps_the_indentation_of_its_first_line(text: str, budget: Budget) -> None:
    assert_complete(text, budget)
    found = passages(text, budget)
    assert len(found) > 1
    for start, end, _ in found:
        before = text[text.rfind("\n", 0, start) + 1 : start]
        assert before.strip() or not before, f"{text[start:end]!r} has lost {before!r}"


def test_white_space_over_the_budget_is_no_indentation() -> None:
    for text in (f"Some words are here.\n{' ' * 900}x" * 3, f"{' ' * 900}xxx"):
        assert_complete(text, SMALL)
        assert "".join(cut(text)).replace(" ", "").count("x") == 3


def test_passages_are_balanced() -> None:
    text = "\n\n".join(f"Paragraph {n} says a few things of note." for n in range(101))
    budget = Budget(max_tokens=100, min_tokens=20, chars_per_token=4.0)
    lengths = [end - start for start, end, _ in passages(text, budget)]
    assert len(lengths) == 12  # nine paragraphs fit: 101 make twelve passages of eight or nine
    assert max(lengths) < 1.2 * min(lengths)


WORDS = st.sampled_from(
    [
        "a",
        "word",
        "sentence.",
        "why?",
        "Dr.",
        "3.5",
        "多瑙河。",
        "ไทย",
        "🙂",
        "(x)",
        "e\u0301",
        "longer-than-most",
    ]
)
GAPS = st.sampled_from([" ", " ", " ", "  ", "\n", "\n\n", "\n \n\t\n", "", "\u00a0", "\r\n"])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=120).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
BUDGETS = st.tuples(st.integers(2, 60), st.floats(0, 0.5), st.sampled_from([1.0, 2.5, 4.0])).map(
    lambda drawn: Budget(drawn[0], int(drawn[0] * drawn[1]), drawn[2])
)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(TEXTS, st.text(max_size=300)), budget=BUDGETS)
@example(text="\u0301" * 50, budget=Budget(2, 1, 1.0))
@example(text="." * 100, budget=Budget(2, 1, 1.0))
@example(text="\n" * 50 + "x", budget=Budget(2, 0, 1.0))
def test_no_text_is_lost_and_no_passage_is_over_the_budget(text: str, budget: Budget) -> None:
    assert_complete(text, budget)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, budget=BUDGETS)
def test_no_passage_is_under_the_minimum_by_more_than_a_word(text: str, budget: Budget) -> None:
    found = passages(text, budget)
    if len(found) > 1:
        longest = max(map(len, text.split()))
        assert min(tokens for _, _, tokens in found) >= budget.min_tokens - longest


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5_000_000,
        "word " * 1_000_000,
        "Short. " * 700_000,
        "." * 5_000_000,
        " " * 5_000_000 + "x",
        "x\n" * 2_500_000,
        "x\n\n" * 1_600_000,
        "多瑙河。" * 500_000,
        "a" + " " * 5_000_000 + "\n" + "a" * 9000,
    ],
    ids=["word", "words", "sentences", "dots", "spaces", "lines", "paragraphs", "chinese", "gap"],
)
def test_five_megabytes_take_linear_time(text: str) -> None:
    budget = Budget(max_tokens=1500, min_tokens=100, chars_per_token=4.0)
    started = time.monotonic()
    assert_complete(text, budget)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("numbers", [(1, 0, 4.0), (10, 6, 4.0), (10, -1, 4.0), (10, 5, 0.5)])
def test_impossible_budgets_are_refused(numbers: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError):
        Budget(*numbers)


def test_batches_carry_the_title_and_a_row_for_a_document_without_text() -> None:
    batch = pa.RecordBatch.from_pylist(
        [
            {"document_key": "a", "title": "A", "text": "One. " + "Two words. " * 10, "more": 1},
            {"document_key": "b", "title": None, "text": None, "more": 2},
        ]
    )
    rows = [row for out in passages_function(SMALL)([batch]) for row in out.to_pylist()]
    assert [(row["document_key"], row["ordinal"], row["title"]) for row in rows] == [
        ("a", 0, "A"),
        ("a", 1, "A"),
        ("b", None, None),
    ]
    assert (rows[2]["text"], rows[2]["tokens"]) == (None, None)


def test_long_documents_leave_in_several_batches() -> None:
    texts = [{"document_key": str(n), "title": "", "text": "word " * 400_000} for n in range(5)]
    batches = list(passage_batches([pa.RecordBatch.from_pylist(texts)], budget=Budget(1500, 100, 4.0)))
    assert len(batches) == 3  # two documents each, and the last
    assert all(batch.schema == PASSAGE_SCHEMA for batch in batches)
