"""Limits of an answer that its question leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.gates import PairView, evaluate
from webscale_rl.answers.limits import dropped_limit
from webscale_rl.config import load

SOLD = "The HP-35, which Hewlett-Packard sold from February 1972 for 395 dollars, was small."


@pytest.mark.parametrize(
    ("question", "answer", "quotation", "limit"),
    [
        ("When did Hewlett-Packard sell the HP-35?", "February 1972", SOLD, "from"),
        ("From when did Hewlett-Packard sell the HP-35?", "February 1972", SOLD, None),
        ("When did Hewlett-Packard begin to sell the HP-35?", "February 1972", SOLD, None),
        ("What did the HP-35 cost?", "395 dollars", SOLD, None),
        ("In what year was it used?", "1903", "It was used until 1903.", "until"),
        ("Until what year was it used?", "1903", "It was used until 1903.", None),
        ("When was it done?", "May 1900", "It was done by the end of May 1900.", "end of"),
        ("How much does it carry?", "40 tonnes", "It carries More than 40 tonnes.", "more than"),
        ("What is the least it carries? At least?", "40 tonnes", "It carries over 40 tonnes.", None),
        ("How long is the Danube?", "2,850 km", "The Danube is about 2,850 km long.", "about"),
        ("How long is the Danube roughly?", "2,850 km", "The Danube is about 2,850 km long.", None),
        # Where no date follows, "from" is no limit.
        ("How many nations met there?", "44 nations", "Delegates from 44 nations met there.", None),
        ("Who baked it?", "Ada", "A story says that Ada baked it.", "story says"),
        ("Who, as the story goes, baked it?", "Ada", "A story says that Ada baked it.", None),
        ("Who is said to have baked it?", "Ada", "It is said to have been baked by Ada.", None),
        ("Where did she live?", "Ulm", "She was reportedly born in Rome and lived in Ulm.", "reportedly"),
        # Only what follows is hearsay.
        ("Where was she born?", "Rome", "She was born in Rome and is said to have liked it.", None),
        ("Who won?", "Ada", "", None),
        ("Who won?", "", "From Ada.", None),
        ("Who won?", "Ada", "Ada won.", None),
    ],
)
def test_a_dropped_limit_is_found(question: str, answer: str, quotation: str, limit: str | None) -> None:
    is_date = answer.endswith(("1972", "1903", "1900"))
    assert dropped_limit(question, answer, quotation, is_date) == limit
    pair = PairView(question, answer, "date" if is_date else "number", quotation, quotation)
    said = evaluate(pair, ["dropped_limit"], load().check.rules)
    assert said == {"dropped_limit": "limit_dropped" if limit else None}


@given(st.text(), st.text(), st.text(), st.booleans())
def test_any_text_is_read(question: str, answer: str, before: str, is_date: bool) -> None:
    dropped_limit(question, answer, before + answer, is_date)
