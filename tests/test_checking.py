"""Gates that ask a model, over a warehouse: in one pass where prompts begin alike, else in turn."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from tests.helpers import GOOD_VERDICT, STAGE_NAMES, about, collected, documents, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.core.files import conf_folder
from webscale_rl.errors import UnparsableRepliesError
from webscale_rl.report import views
from webscale_rl.runtime.budget import Budget
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.passes import run_pass as completions
from webscale_rl.stages.registry import STAGES

DOCUMENTS = 3
PAIRS = 2 * DOCUMENTS
# The model finds another height in the first document than its pair says, and none in the second.
REPLIES = prepared(DOCUMENTS) | {
    about(0) + "Question: How high": '{"answer": "12 metres"}',
    about(1) + "Question: How high": '{"answer": "unanswerable"}',
}
HEIGHT = "How high in metres is the mountain called Mount Number"
REFUSED = {f"{HEIGHT}0?": "answer_not_confirmed", f"{HEIGHT}1?": "unanswerable"}
BOTH = ("lengths", "round_trip", "judge")
ONE_PASS = "check.round_trip_and_judge"


class World:
    """A warehouse with generated pairs, checked again and again by engines that count as others."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self._spark, self._folder, self._before = spark, folder, 0
        pipeline = make_pipeline(spark, folder, documents(DOCUMENTS), replies=REPLIES)
        pipeline.run(stages=STAGE_NAMES[: STAGE_NAMES.index("check")])
        self.calls()

    def pipeline(self, variant: str, gates: Sequence[str], judge: str = "judge", **options: Any) -> Pipeline:
        """A pipeline whose engine's model has that name; `judge` is the judge's prompt."""
        settings = {
            "check": {"gates": list(gates), "judge": {"prompt": judge}},
            "engines": {"fake": {"workers": 1}},
        }
        options = {"replies": REPLIES, "variant": variant} | options
        return make_pipeline(self._spark, self._folder, settings=settings, **options)

    def check(self, pipeline: Pipeline, budget: Budget | None = None) -> list[dict[str, Any]]:
        """Check what is pending; the new verdicts, with their question and who asked."""
        run = pipeline.run(stages=["check"], budget=budget).run
        return collected(
            pipeline.sql(
                "SELECT v.*, p.passage_key, p.question, c.stage AS asked FROM gate_verdicts v "
                "JOIN pairs p USING (pair_key) LEFT JOIN completions c ON c.request_id = v.request_id "
                f"WHERE v.run = {run} AND v.gate <> 'lengths'"
            )
        )

    def checked(self, pipeline: Pipeline) -> dict[str, dict[str, Any]]:
        """The check's rows under its recipe in force, by question."""
        found = pipeline.sql(
            "SELECT p.question, c.* FROM checked c JOIN pairs p USING (pair_key) "
            "JOIN active a ON a.recipe = c.recipe"
        )
        return {row["question"]: row for row in collected(found)}

    def calls(self) -> list[str]:
        """The calls since this was asked last."""
        found = called(self._folder / "log")[self._before :]
        self._before += len(found)
        return found


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(spark, tmp_path_factory.mktemp("checking"))


def test_gates_that_begin_alike_read_a_passage_in_one_pass(world: World) -> None:
    found = world.check(world.pipeline("one pass", BOTH))
    assert Counter(row["gate"] for row in found) == {"round_trip": PAIRS, "judge": PAIRS}
    assert {row["asked"] for row in found} == {ONE_PASS}
    assert len({row["recipe"] for row in found}) == 2, "each gate's verdicts stand under its own recipe"
    assert {row["question"]: row["reason"] for row in found if not row["passed"]} == REFUSED
    # Both gates' requests about a passage stand together.
    passage = {row["request_id"]: row["passage_key"] for row in found}
    in_order = [passage[call] for call in world.calls()]
    assert len(in_order) == 2 * PAIRS
    assert sum(a != b for a, b in itertools.pairwise(in_order)) == DOCUMENTS - 1


def test_what_an_earlier_run_refused_is_asked_no_more(world: World) -> None:
    first = world.check(world.pipeline("in turn", BOTH[:-1]))
    assert len(world.calls()) == len(first) == PAIRS
    found = world.check(world.pipeline("in turn", BOTH))
    assert len(world.calls()) == len(found) == PAIRS - len(REFUSED)
    assert {row["gate"] for row in found} == {"judge"}
    assert {row["question"] for row in found}.isdisjoint(REFUSED)


def test_a_refusal_by_either_gate_decides(world: World) -> None:
    """The round trip of one pair fails for now, and the judge refuses it: it keeps nobody waiting."""
    wrong = json.dumps(GOOD_VERDICT | {"correct": False})
    pipeline = world.pipeline(
        "either",
        (*BOTH, "duplicate_question"),
        replies=REPLIES | {"Answer: 1002 metres": wrong},
        passing=f"{HEIGHT}2?\n\nAnswer the question",
    )
    world.check(pipeline)
    assert len(world.calls()) == 2 * PAIRS
    rows = world.checked(pipeline)
    assert len(rows) == PAIRS
    assert rows[f"{HEIGHT}2?"]["verdicts"] == {
        "lengths": True,
        "round_trip": None,
        "judge": False,
        "duplicate_question": None,
    }
    sibling = rows["Which village is the nearest one to Mount Number2?"]
    assert (sibling["status"], sibling["verdicts"]["duplicate_question"]) == ("kept", True)
    (attempt,) = collected(pipeline.sql("SELECT stage, recipe FROM attempts"))
    assert attempt == {"stage": ONE_PASS, "recipe": None}


@pytest.mark.parametrize("limit", [1, 5])
def test_a_pass_that_a_budget_cuts_goes_on(world: World, limit: int) -> None:
    pipeline = world.pipeline(f"budget {limit}", BOTH)
    found = world.check(pipeline, Budget(max_requests=limit))
    assert len(world.calls()) == len(found) == limit
    rest = world.check(pipeline)
    first = {row["request_id"] for row in found}
    calls = world.calls()
    assert len(calls) == len(set(calls)) == len(rest)
    assert first.isdisjoint(calls)
    verdicts = [(row["pair_key"], row["gate"]) for row in found + rest]
    assert len(verdicts) == len(set(verdicts))
    rows = world.checked(pipeline)
    assert len(rows) == PAIRS
    assert {question for question, row in rows.items() if row["status"] == "rejected"} == set(REFUSED)


def test_gates_that_begin_otherwise_ask_in_turn(world: World, tmp_path: Path) -> None:
    found = world.check(world.pipeline("otherwise", BOTH, changed(tmp_path, "Be strict", "Be severe")))
    assert len(world.calls()) == len(found) == 2 * PAIRS - len(REFUSED)
    assert {(row["gate"], row["asked"]) for row in found} == {
        ("round_trip", "check.round_trip"),
        ("judge", "check.judge"),
    }


def test_gates_asked_together_may_need_other_columns(world: World, tmp_path: Path) -> None:
    mine = changed(tmp_path, "Quotation: {quotation}", "From: {context}")
    found = world.check(world.pipeline("columns", BOTH, mine))
    assert len(world.calls()) == len(found) == 2 * PAIRS
    assert {row["asked"] for row in found} == {ONE_PASS}


def test_a_frame_is_checked_as_a_warehouse_is(world: World) -> None:
    pipeline = world.pipeline("frame", BOTH)
    warehouse = pipeline.open()
    pairs = Flow(STAGES, warehouse.read, views.active_recipes(warehouse)).inputs("check")
    asked = {row["pair_key"]: row["question"] for row in collected(pairs)}
    found = {asked[row["pair_key"]]: row for row in collected(pipeline.apply("check", pairs))}
    assert {name: row["reasons"] for name, row in found.items() if row["status"] == "rejected"} == {
        name: [reason] for name, reason in REFUSED.items()
    }
    assert len(found) == PAIRS
    assert all(row["verdicts"]["judge"] for row in found.values()), "it was asked about all of them"
    world.calls()


@pytest.mark.parametrize(
    ("marker", "gate"), [("Examine this pair", "judge"), ("Answer the question", "round_trip")]
)
def test_of_two_prompts_the_one_at_fault_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, marker: str, gate: str
) -> None:
    monkeypatch.setattr(completions, "PROBE_REPLIES", 2 * PAIRS)
    replies = {"Examine this pair": json.dumps(GOOD_VERDICT)} | {marker: "no JSON at all"}
    with pytest.raises(
        UnparsableRepliesError, match=f"{PAIRS} of the first {PAIRS} replies for {gate} could"
    ):
        world.check(world.pipeline(f"at fault: {gate}", BOTH, replies=replies))
    world.calls()


def changed(folder: Path, old: str, new: str) -> str:
    """The judge's prompt with another text in it."""
    text = (conf_folder() / "prompts" / "judge.yml").read_text(encoding="utf-8")
    assert old in text
    (folder / "judge.yml").write_text(text.replace(old, new), encoding="utf-8")
    return str(folder / "judge.yml")
