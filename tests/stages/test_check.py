"""check: the order of the gates, each gate's verdicts, and the row that is derived from them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession

from tests.helpers import collected
from tests.stages.bodies import CHOICES, JUDGE, ROUND_TRIP, SUPPORT, VERDICT, completed, completion
from webscale_rl.config.load import defaults
from webscale_rl.core.files import conf_folder
from webscale_rl.core.settings import AskingSettings
from webscale_rl.distill.tables import steps as taught
from webscale_rl.errors import ConfigError
from webscale_rl.llm.prompts import Prompt, load_prompt
from webscale_rl.stages.check import steps as check_steps
from webscale_rl.stages.check.gates.base import GATES
from webscale_rl.stages.check.gates.duplicates import apply_duplicates
from webscale_rl.stages.check.gates.judge import Judge, finish_judge
from webscale_rl.stages.check.gates.likelihood import apply_likelihood
from webscale_rl.stages.check.gates.round_trip import RoundTrip, RoundTripSupport, finish_round_trip
from webscale_rl.stages.check.gates.rules import rule_gates
from webscale_rl.stages.check.settings import CheckSettings, check_settings
from webscale_rl.stages.check.steps import Step
from webscale_rl.stages.check.verdicts import apply_rules, derive

PASSAGE = "Mount Ash is 1204 metres high. It was first climbed in 1901 by Ada Brennan."
GOOD = {
    "question": "How high in metres is Mount Ash?",
    "answer": "1204 metres",
    "answer_type": "number",
    "quotation": "Mount Ash is 1204 metres high.",
}


def settings(**changes: Any) -> CheckSettings:
    return CheckSettings.model_validate(defaults()["check"] | changes)


def pairs(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    columns = ("pair_key", "passage_key", "ordinal", *GOOD, "passage", "title")
    filled = [
        {"pair_key": f"k{n}", "passage_key": "p", "ordinal": n, "passage": PASSAGE, "title": "T", **row}
        for n, row in enumerate(rows)
    ]
    kinds = ", ".join(f"{c} {'int' if c == 'ordinal' else 'string'}" for c in columns)
    return spark.createDataFrame([tuple(row.get(c) for c in columns) for row in filled], kinds)


def test_gates_become_steps_in_their_order() -> None:
    found = check_steps.steps(settings(gates=["lengths", "repetition", "round_trip", "answer_leak", "judge"]))
    assert found == [
        Step("check.rules.1", "rules", ("lengths", "repetition")),
        Step("check.round_trip", "round_trip", ("round_trip",)),
        Step("check.rules.2", "rules", ("answer_leak",)),
        Step("check.judge", "judge", ("judge",)),
    ]


class Named(Judge):
    """A judge of any name, with settings of its own."""

    settings = AskingSettings

    def __init__(self, name: str, section: str = "own") -> None:
        self.name, self.section = name, section


def test_a_gate_may_be_called_like_a_stage_or_like_the_rules() -> None:
    with GATES.added(Named("rules"), Named("screen")):
        found = check_steps.steps(settings(gates=["lengths", "rules", "answer_leak", "screen"]))
        names = taught()
    assert [step.name for step in found] == ["check.rules.1", "check.rules", "check.rules.2", "check.screen"]
    assert [names[name] for name in ("screen", "check.screen", "rules")] == [
        *("screen", "check.screen", "check.rules")
    ]


@pytest.mark.parametrize("section", ["gates", "rules", "judge", "min_question_logprob"])
def test_a_gate_with_the_section_of_others_is_refused(section: str) -> None:
    with (
        GATES.added(Named("named", section)),
        pytest.raises(ConfigError, match=f"there is a check.{section}"),
    ):
        check_settings()


def groups(
    gates: list[str], answer: dict[str, Any], judge: dict[str, Any], judge_engine: str = "a"
) -> list[Any]:
    """The groups of some gates with the prompts' parts, as names of gates."""
    found = settings(
        gates=gates,
        round_trip=defaults()["check"]["round_trip"] | {"engine": "a"},
        judge=defaults()["check"]["judge"] | {"engine": judge_engine},
    )
    prompts = {"check.round_trip": answer, "check.judge": judge}
    bodies = {step.name: {"prompt": prompts.get(step.name)} for step in check_steps.steps(found)}
    return [sum((step.gates for step in group), ()) for group in check_steps.together(found, bodies)]


def test_neighbours_whose_prompts_begin_alike_are_asked_together() -> None:
    answer, judge = (
        load_prompt(conf_folder() / "prompts" / f"{name}.yml").model_dump() for name in ("answer", "judge")
    )
    one_pass = [("lengths", "repetition"), ("round_trip", "judge")]
    assert groups(["lengths", "repetition", "round_trip", "judge"], answer, judge) == one_pass
    in_turn = [("round_trip",), ("judge",)]
    gates = ["round_trip", "judge"]
    assert groups(gates, answer, judge, judge_engine="b") == in_turn
    assert groups(gates, answer, judge | {"system": "Other rules."}) == in_turn
    assert groups(gates, answer, judge | {"user": "Text: {passage}"}) == in_turn
    between = groups(["round_trip", "lengths", "judge"], answer, judge)
    assert between == [("round_trip",), ("lengths",), ("judge",)]
    # What differs from pair to pair comes before the passage, or there is no passage.
    for user in ("{question} {passage}", "{context} {question}"):
        assert groups(gates, answer | {"user": user}, judge | {"user": user}) == in_turn


@pytest.mark.parametrize(
    ("gates", "message"),
    [(["lengths", "lengths"], "named twice"), (["length"], "unknown gate 'length'"), ([], "at least 1")],
)
def test_wrong_gates_are_refused(gates: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(gates=gates)


def test_every_rule_gives_a_verdict(spark: SparkSession) -> None:
    rows = pairs(spark, [GOOD, dict.fromkeys(GOOD), GOOD | {"answer": "Ash"}])
    found = collected(apply_rules(rows, rule_gates(), settings()))
    by_pair: dict[str, dict[str, dict[str, Any]]] = {}
    for row in found:
        by_pair.setdefault(row["pair_key"], {})[row["gate"]] = row
    assert all(set(gates) == {gate.name for gate in rule_gates()} for gates in by_pair.values())
    assert all(row["passed"] == (row["reason"] is None) for row in found)
    assert all(row["passed"] for row in by_pair["k0"].values())
    assert not by_pair["k1"]["lengths"]["passed"]
    assert not by_pair["k2"]["answer_leak"]["passed"]


def test_of_equal_questions_the_lowest_ordinal_stays(spark: SparkSession) -> None:
    same = "how high, in METRES, is Mount Ash"
    rows = [
        GOOD | {"ordinal": 2},
        GOOD | {"question": same, "ordinal": 0},
        GOOD | {"question": "Who climbed Mount Ash first?", "ordinal": 1},
        GOOD | {"passage_key": "other"},
    ]
    found = {row["pair_key"]: row for row in collected(apply_duplicates(pairs(spark, rows)))}
    assert {key: row["passed"] for key, row in found.items()} == {
        "k0": False,
        "k1": True,
        "k2": True,
        "k3": True,
    }
    assert (found["k0"]["reason"], found["k0"]["detail"]) == ("duplicate_question", same)


def test_likelihood(spark: SparkSession) -> None:
    rows = [
        ("a", "Who was it?", -0.5),
        ("b", "Who was it?", -0.51),
        ("long", "  Who\nwas  it, then? ", -0.4),
        ("silent", "Who was it?", None),
        ("none", None, -0.1),
        ("empty", "", -0.1),
        ("blank", " \n ", -0.1),
        ("padded", "\tWho was it?\n", -0.5),
        ("certain", "Who was it?", 0.0),
    ]
    frame = spark.createDataFrame(rows, "pair_key string, question string, mean_logprob double")
    found = {row["pair_key"]: row for row in collected(apply_likelihood(frame, -1.5))}
    assert {key: row["reason"] for key, row in found.items()} == {
        "a": None,
        "b": "unlikely",
        "long": "unlikely",
        "silent": "likelihood_missing",
        "none": "likelihood_missing",
        "empty": "likelihood_missing",
        "blank": "likelihood_missing",
        "padded": None,
        "certain": None,
    }
    assert found["long"]["score"] == pytest.approx(-1.6)
    assert all(row["passed"] == (row["reason"] is None) for row in found.values())


def replies(spark: SparkSession, given: dict[str, tuple[Any, ...]], answer: str = "1204 metres") -> DataFrame:
    rows = [(key, answer, "number", PASSAGE, reply) for key, reply in given.items()]
    return completed(spark, "pair_key string, answer string, answer_type string, passage string", rows)


def test_the_round_trip_compares_answers(spark: SparkSession) -> None:
    given = {
        "same": completion('{"answer": "1,204 m"}'),
        "other": completion('{"answer": "1300 metres"}'),
        "none": completion('{"answer": "Unanswerable."}'),
        "empty": completion('{"answer": ""}'),
        "text": completion("1204 metres"),
        "fault": completion(error="told: x"),
    }
    found = collected(finish_round_trip(replies(spark, given), ROUND_TRIP))
    assert {row["pair_key"]: row["reason"] for row in found} == {
        "same": None,
        "other": "answer_not_confirmed",
        "none": "unanswerable",
        "empty": "answer_not_confirmed",
        "text": "reply_not_json",
        "fault": "told",
    }
    for row in found:
        assert row["passed"] == (row["reason"] is None)
        assert row["status"] == ("kept" if row["passed"] else "rejected")
        assert row["gate"] == "round_trip"


def test_a_forced_choice_needs_a_margin(spark: SparkSession) -> None:
    given = {
        "clear": completion(" 1204 metres", choices=[-0.2, -3.0]),
        "close": completion(" 1204 metres", choices=[-0.2, -0.4]),
        "alone": completion(" 1204 metres", choices=[-0.2]),
        "wrong": completion(" 1901", choices=[-3.0, -0.2]),
    }
    found = collected(finish_round_trip(replies(spark, given), CHOICES))
    assert {row["pair_key"]: row["reason"] for row in found} == {
        "clear": None,
        "close": "answer_uncertain",
        "alone": "no_other_choice",
        "wrong": "answer_not_confirmed",
    }
    prepared = RoundTrip().prepare(pairs(spark, [GOOD]), CHOICES)
    row = prepared.select("choices", RoundTrip().request(CHOICES).alias("request")).collect()[0]
    request = json.loads(row["request"])
    assert request["choices"] == [f" {choice}" for choice in row["choices"]]
    assert " 1204 metres" in request["choices"]


def test_the_round_trip_never_sees_the_answer(spark: SparkSession) -> None:
    rows = pairs(spark, [GOOD | {"answer": "SECRET", "quotation": "SECRET TOO"}])
    request = rows.select(RoundTrip().request(ROUND_TRIP)).collect()[0][0]
    assert "SECRET" not in request


def test_the_support_alone_must_do(spark: SparkSession) -> None:
    gate = RoundTripSupport()
    passage = f"Ash is a volcano. It slept long. {PASSAGE}"
    rows = pairs(spark, [GOOD | {"passage": passage}, GOOD | {"passage": None, "quotation": None}])
    first, second = (
        json.loads(row[0])["messages"][0]["content"]
        for row in gate.prepare(rows, SUPPORT).select(gate.request(SUPPORT)).collect()
    )
    assert first == (
        "Ash is a volcano. It slept long. Mount Ash is 1204 metres high.\n"
        "Question: How high in metres is Mount Ash?\nAnswer:"
    )
    assert second.startswith("\nQuestion")
    given = {"same": completion(" 1204 m\nText:"), "none": completion(" unanswerable")}
    found = collected(finish_round_trip(replies(spark, given), SUPPORT))
    assert {row["pair_key"]: row["reason"] for row in found} == {"same": None, "none": "unanswerable"}
    assert {row["gate"] for row in found} == {"round_trip_support"}


def test_the_support_needs_a_place_in_the_prompt() -> None:
    prompt = Prompt(version=1, user="{passage}{question}", max_tokens=5)
    with pytest.raises(ConfigError, match="gate round_trip_support: the prompt tuned_answer has no place"):
        RoundTripSupport().body(settings(), prompt, {})


def test_four_words_make_a_verdict(spark: SparkSession) -> None:
    given = {
        "good": completion(" good", choices=[-0.1, -3.0, -4.0, -5.0]),
        "wrong": completion(" wrong", choices=[-2.0, -0.3, -3.0, -4.0]),
        "unclear": completion(" unclear", choices=[-2.0, -3.0, -0.3, -4.0]),
        "leak": completion(" leaking", choices=[-2.0, -4.0, -3.0, -0.3]),
        "doubt": completion(" good", choices=[-1.0, -1.2, -1.2, -5.0]),
        "none": completion(" good"),
        "fault": completion(error="refused: x"),
    }
    found = {row["pair_key"]: row for row in collected(finish_judge(replies(spark, given), VERDICT))}
    assert {key: row["reason"] for key, row in found.items()} == {
        "good": None,
        "wrong": "judged_wrong",
        "unclear": "judged_not_self_contained",
        "leak": "judged_leaking",
        "doubt": "judged_wrong",
        "none": "reply_missing",
        "fault": "refused",
    }
    assert found["good"]["score"] == pytest.approx(0.924, abs=0.01)
    rows = Judge().prepare(pairs(spark, [GOOD]), VERDICT)
    request = json.loads(rows.select(Judge().request(VERDICT)).collect()[0][0])
    assert request["choices"] == [" good", " wrong", " unclear", " leaking"]
    assert "1204 metres\nVerdict:" in request["messages"][0]["content"]


def test_a_judge_that_fails_to_judge_rejects(spark: SparkSession) -> None:
    good = {"reason": "r", "correct": True, "self_contained": True, "leaks_answer": False}
    given = {
        "good": completion(json.dumps(good)),
        "wrong": completion(json.dumps(good | {"correct": False, "leaks_answer": True})),
        "alone": completion(json.dumps(good | {"self_contained": False})),
        "leak": completion(json.dumps(good | {"leaks_answer": True})),
        "half": completion('{"correct": true}'),
        "words": completion("It is fine."),
        "fault": completion(error="refused: x"),
    }
    found = collected(finish_judge(replies(spark, given), JUDGE))
    assert {row["pair_key"]: row["reason"] for row in found} == {
        "good": None,
        "wrong": "judged_wrong",
        "alone": "judged_not_self_contained",
        "leak": "judged_leaking",
        "half": "reply_not_as_asked",
        "words": "reply_not_json",
        "fault": "refused",
    }
    loose = JUDGE | {"prompt": JUDGE["prompt"] | {"response_schema": {"type": "object"}}}
    (row,) = collected(finish_judge(replies(spark, {"x": completion("{}")}), loose))
    assert row["reason"] == "judged_wrong"


def test_the_row_is_derived_from_the_verdicts(spark: SparkSession) -> None:
    verdicts = [
        ("all", "lengths", True, None, None),
        ("all", "round_trip", True, None, 0.9),
        ("failed", "lengths", False, "too_long", None),
        ("both", "lengths", False, "too_long", None),
        ("both", "round_trip", False, "unanswerable", 0.0),
        ("open", "lengths", True, None, None),
        ("foreign", "lengths", True, None, None),
    ]
    frame = spark.createDataFrame(
        verdicts, "pair_key string, gate string, passed boolean, reason string, score double"
    )
    keys = spark.createDataFrame([(k,) for k in ("all", "failed", "both", "open", "new")], "pair_key string")
    found = {row["pair_key"]: row for row in collected(derive(keys, frame, ["lengths", "round_trip"]))}
    assert set(found) == {"all", "failed", "both"}, "undecided pairs have no row"
    assert found["all"]["verdicts"] == {"lengths": True, "round_trip": True}
    assert found["all"]["scores"] == {"round_trip": 0.9}
    assert (found["all"]["status"], found["all"]["reasons"]) == ("kept", [])
    assert found["failed"]["verdicts"] == {"lengths": False, "round_trip": None}
    assert found["both"]["reasons"] == ["too_long", "unanswerable"]
