"""An answer type, from this one file: what prompts say of it, what conforms to it, and when two agree."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from tests.helpers import about, by_stage, collected, documents, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.answers.compare import Agreement
from webscale_rl.answers.registry import ANSWER_TYPES, AnswerType
from webscale_rl.core.files import find_file
from webscale_rl.llm.prompts import load_prompt
from webscale_rl.report.show import show
from webscale_rl.runtime.budget import Budget
from webscale_rl.stages.registry import STAGES

SPELLINGS = {"gray": "grey"}
COLOURS = ("grey", "gray", "green")


def is_colour(answer: str) -> bool:
    return answer.lower() in COLOURS


def same_colour(expected: str, given: str) -> Agreement:
    plain = [SPELLINGS.get(text.lower(), text.lower()) for text in (expected, given)]
    same = plain[0] == plain[1]
    return Agreement(same, float(same), "colour")


COLOUR = AnswerType("colour", 'one word, such as "green"', is_colour, same_colour)


def register() -> None:
    """What the configuration's `plugins` calls."""
    ANSWER_TYPES.register(COLOUR)


@pytest.fixture(autouse=True, scope="module")
def added() -> Iterator[None]:
    with ANSWER_TYPES.added(COLOUR):
        yield


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Three documents whose first persona asks for a colour: confirmed, not confirmed, and no colour at
    all.
    """
    folder = tmp_path_factory.mktemp("answer-type")
    extra = {n: f"The slopes of Mount Number{n} are grey. " for n in range(3)}
    replies = prepared(3)
    for n, answer in enumerate(("grey", "grey", "steep")):
        pair = {
            "question": f"What colour are the slopes of Mount Number{n}?",
            "answer": answer,
            "answer_type": "colour",
            "quotation": f"The slopes of Mount Number{n} are grey.",
        }
        replies[about(n) + "Reader: geology student"] = json.dumps(pair)
        given = "gray" if n == 0 else "green"
        replies[about(n) + "Question: What colour"] = json.dumps({"answer": given})
    settings = {"check": {"gates": ["answer_type", "round_trip"]}}
    pipeline = make_pipeline(spark, folder, documents(3, extra), settings, replies=replies)
    *until, last = STAGES.names
    assert pipeline.run(stages=until, budget=Budget(max_requests=10)).outcome == "stopped"
    assert pipeline.run(stages=["check", last]).outcome == "done"
    calls = called(folder / "log")
    assert len(calls) == len(set(calls))
    return pipeline


def test_prompts_ask_for_it() -> None:
    prompt = load_prompt(find_file("generate_question_first", "prompts", ".yml"))
    assert '- colour: one word, such as "green"' in prompt.system
    assert prompt.response_schema is not None
    assert "colour" in prompt.response_schema["properties"]["answer_type"]["enum"]


def test_its_shape_and_its_comparison_decide(ran: Pipeline) -> None:
    pairs = ran.sql(
        "SELECT p.answer_type, c.status, c.reasons FROM pairs p JOIN checked c USING (pair_key) "
        "WHERE p.answer_type = 'colour' ORDER BY p.question"
    )
    assert [(row["status"], row["reasons"]) for row in collected(pairs)] == [
        ("kept", []),
        ("rejected", ["answer_not_confirmed"]),
        ("rejected", ["answer_type_mismatch"]),
    ]
    assert by_stage(ran.status())["check"].kept == 4


def test_it_is_shown(ran: Pipeline) -> None:
    key = collected(ran.sql("SELECT pair_key FROM qa_pairs WHERE answer_type = 'colour'"))[0]["pair_key"]
    assert "answer type colour" in " ".join(show(ran.open(), key).split())
