"""generate: pairs from replies, and spans for a model that only writes the question."""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.helpers import collected, document
from tests.stages.bodies import ANSWER_FIRST, COMPLETION, QUESTION_FIRST, completion
from webscale_rl.stages.generate import stage as generate

UNIT = (
    "pair_key string, passage_key string, document_key string, title string, text string, domain string, "
    "persona string, interest string, ordinal int"
)
PAIR = {"question": " Q? ", "answer": "A", "answer_type": "name", "quotation": "is A."}


def units(spark: SparkSession, texts: dict[str, str]) -> DataFrame:
    rows = [(key, "p", "d", "T", text, "nature", "hiker", "Heights.", 0) for key, text in texts.items()]
    return spark.createDataFrame(rows, UNIT)


def finished(
    spark: SparkSession, body: dict[str, Any], replies: dict[str, tuple[Any, ...]], text: str = document(1)
) -> dict[str, dict[str, Any]]:
    prepared = generate.prepare(units(spark, dict.fromkeys(replies, text)), body)
    frame = spark.createDataFrame(list(replies.items()), f"pair_key string, completion {COMPLETION}")
    rows = prepared.join(frame, "pair_key").withColumn("request_id", F.lit("request"))
    found = collected(generate.finish(rows, body))
    assert all((row["status"] == "kept") == (row["reasons"] == []) for row in found)
    return {row["pair_key"]: row for row in found}


def test_question_first(spark: SparkSession) -> None:
    found = finished(
        spark,
        QUESTION_FIRST,
        {
            "good": completion(json.dumps(PAIR)),
            "no question": completion(json.dumps(PAIR | {"question": " "})),
            "nothing": completion(json.dumps(PAIR | {"question": "", "answer": ""})),
            "short": completion('{"question": "Q?"}'),
            "fault": completion(error="kills_engine: it died"),
        },
    )
    assert {name: row["reasons"] for name, row in found.items()} == {
        "good": [],
        "no question": ["question_empty"],
        "nothing": ["answer_empty", "question_empty"],
        "short": ["reply_not_as_asked"],
        "fault": ["kills_engine"],
    }
    good = found["good"]
    assert {name: good[name] for name in PAIR} == PAIR | {"question": "Q?"}
    assert (good["mean_logprob"], good["min_logprob"], good["strategy"]) == (-0.25, -0.5, "question_first")


def test_what_was_copied_from_the_prompt_is_stored_in_the_passage_s_own_words(spark: SparkSession) -> None:
    passage = "The old price, <s>9 francs</s>, was struck through."
    copied = PAIR | {"answer": "< s >9 francs< /s >", "quotation": "The old price, < s >9 francs< /s >, was"}
    found = finished(spark, QUESTION_FIRST, {"good": completion(json.dumps(copied))}, text=passage)["good"]
    assert found["answer"] == "<s>9 francs</s>"
    assert found["quotation"] == "The old price, <s>9 francs</s>, was"


def test_answer_first(spark: SparkSession) -> None:
    found = finished(
        spark,
        ANSWER_FIRST,
        {
            "good": completion(" How high is it?\nQuestion: more"),
            "empty": completion("\n \n"),
            "fault": completion(error="told: x"),
        },
    )
    assert found["good"]["question"] == "How high is it?"
    assert found["good"]["answer"] in document(1)
    assert found["good"]["answer"] in found["good"]["quotation"]
    assert found["good"]["quotation"] in document(1)
    assert found["empty"]["reasons"] == ["reply_empty"]
    assert found["fault"]["reasons"] == ["told"]


def test_a_passage_without_a_span_is_a_rejected_row(spark: SparkSession) -> None:
    rows = units(spark, {"full": document(2), "bare": "It was so. They did.", "empty": ""})
    prepared = generate.prepare(rows, ANSWER_FIRST)
    rest = {row["pair_key"]: row for row in collected(generate.without_span(prepared, ANSWER_FIRST))}
    assert set(rest) == {"bare", "empty"}
    assert all(row["reasons"] == ["no_answer_span"] and row["request_id"] is None for row in rest.values())
    assert collected(generate.without_span(generate.prepare(rows, QUESTION_FIRST), QUESTION_FIRST)) == []


def test_requests_share_their_beginning(spark: SparkSession) -> None:
    rows = generate.prepare(units(spark, {"a": document(1)}), QUESTION_FIRST)
    request = json.loads(rows.select(generate.persona_request(QUESTION_FIRST)).collect()[0][0])
    system, user = request["messages"]
    assert system == {"role": "system", "content": "Nature\nN"}, "the domain's own demonstrations"
    assert user["content"] == f"T\n{document(1)}\nFor hiker: Heights."
    other = rows.withColumn("domain", F.lit("unknown"))
    request = json.loads(other.select(generate.persona_request(QUESTION_FIRST)).collect()[0][0])
    assert request["messages"][0]["content"] == "unknown\n"
