"""Limits of an answer that its question leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.registry import ANSWER_TYPES
from webscale_rl.config.load import load
from webscale_rl.stages.check.gates.limits import dropped_limit
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.check.gates.rules import PairView, evaluate

SOLD = "The HP-35, which Hewlett-Packard sold from February 1972 for 395 dollars, was small."


@pytest.mark.parametrize(
    ("question", "answer", "answer_type", "quotation", "limit"),
    [
        ("When did Hewlett-Packard sell the HP-35?", "February 1972", "date", SOLD, "from"),
        ("From when did Hewlett-Packard sell the HP-35?", "February 1972", "date", SOLD, None),
        ("When did Hewlett-Packard begin to sell the HP-35?", "February 1972", "date", SOLD, None),
        ("What did the HP-35 cost?", "395 dollars", "number", SOLD, None),
        ("In what year was it used?", "1903", "date", "It was used until 1903.", "until"),
        ("Until what year was it used?", "1903", "date", "It was used until 1903.", None),
        ("When was it used?", "1903", "date", "It was in use since 1903.", "since"),
        ("When was it open?", "1903", "date", "It was open from 1901 to 1903.", "to"),
        ("When was it done?", "May 1900", "date", "It was done by the end of May 1900.", "end of"),
        ("How much does it carry?", "40 tonnes", "number", "It carries More than 40 tonnes.", "more than"),
        ("How much does it carry at least?", "40 tonnes", "number", "It carries over 40 tonnes.", None),
        ("How much is it at least?", "40 tonnes", "number", "It is no more than 40 tonnes.", "no more than"),
        ("How long is the Danube?", "2,850 km", "number", "The Danube is about 2,850 km long.", "about"),
        ("How long is it roughly?", "2,850 km", "number", "The Danube is about 2,850 km long.", None),
        ("How many nations met there?", "44 nations", "number", "Delegates from 44 nations met there.", None),
        # A place or a person is no bound.
        ("Where did she move?", "Paris", "name", "She moved to Paris.", None),
        ("Who is the book about?", "Napoleon", "name", "It is a book about Napoleon.", None),
        ("Which river does it cross?", "Seine", "name", "The bridge runs over the Seine.", None),
        ("Who baked it?", "Ada", "name", "A story says that Ada baked it.", "story says"),
        ("Who, as the story goes, baked it?", "Ada", "name", "A story says that Ada baked it.", None),
        ("Who baked it?", "Ada", "name", "Ada is said to have baked it.", "is said to"),
        ("Who is rumoured to have baked it?", "Ada", "name", "Ada is rumoured to have baked it.", None),
        ("Where did she live?", "Ulm", "name", "She was reportedly born and lived in Ulm.", "reportedly"),
        # What stands before the hearsay is none.
        ("Where was she born?", "Rome", "name", "She was born in Rome and is said to have liked it.", None),
        ("Who won?", "Ada", "name", "", None),
        ("Who won?", "", "name", "From Ada.", None),
        ("Who won?", "Ada", "name", "Ada won.", None),
    ],
)
def test_a_dropped_limit_is_found(
    question: str, answer: str, answer_type: str, quotation: str, limit: str | None
) -> None:
    assert dropped_limit(question, answer, answer_type, quotation) == limit
    pair = PairView(question, answer, answer_type, quotation, quotation)
    said = evaluate(pair, [GATES.get("dropped_limit")], load().check)
    assert said == {"dropped_limit": "limit_dropped" if limit else None}


@given(st.text(), st.text(), st.sampled_from(ANSWER_TYPES.names), st.text())
def test_any_text_is_read(question: str, answer: str, answer_type: str, before: str) -> None:
    dropped_limit(question, answer, answer_type, before + answer)
