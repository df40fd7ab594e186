"""Examples out of a warehouse: the prompts that were sent, and the replies that are worth learning from."""

from __future__ import annotations

import argparse
import json

import pytest
from pyspark.sql import SparkSession

from tests.helpers import collected
from tests.smallrun import CLIMB, SURVEY, SmallRun
from webscale_rl import Pipeline
from webscale_rl.cli import main as cli
from webscale_rl.config.load import load
from webscale_rl.distill.command import replies_a_document, teacher_cost
from webscale_rl.distill.tables import Teacher, steps, teacher
from webscale_rl.errors import ConfigError
from webscale_rl.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, small_run: SmallRun) -> Warehouse:
    settings = load(small_run.folder / "config.yml", (), {"warehouse": str(small_run.folder / "wh")})
    return Pipeline(config=settings, spark=spark).open()


def told(warehouse: Warehouse, step: str) -> list[tuple[str, str]]:
    """The ends of the prompts, with the replies."""
    rows = collected(teacher(warehouse, step).rows)
    assert all(row["document_key"] and row["prompt_tokens"] is not None for row in rows)
    prompts = [json.loads(row["request"])["messages"][-1]["content"] for row in rows]
    return sorted((prompt, row["text"]) for prompt, row in zip(prompts, rows, strict=True))


def test_judgements_are_learned_with_their_noes(warehouse: Warehouse) -> None:
    assert len(told(warehouse, "screen")) == 2, "the reply that is no JSON is left to the parser"
    found = teacher(warehouse, "judge")
    assert found.schema is not None
    assert set(found.schema["properties"]) == {"reason", "correct", "self_contained", "leaks_answer"}
    assert len(told(warehouse, "judge")) == 1


def test_of_questions_those_that_were_accepted(warehouse: Warehouse) -> None:
    ((prompt, reply),) = told(warehouse, "generate")
    assert "Answer: 1900" in prompt
    assert reply.strip() == SURVEY


def test_of_answers_those_that_confirmed(warehouse: Warehouse) -> None:
    ((prompt, reply),) = told(warehouse, "round_trip")
    assert SURVEY in prompt
    assert CLIMB not in prompt
    assert reply.strip() == "1900"


def test_the_prompts_are_those_that_were_sent(warehouse: Warehouse) -> None:
    sent = {row["request_id"] for row in warehouse.read("completions").select("request_id").collect()}
    from webscale_rl.core.fingerprint import sha256_text

    for step in ("screen", "generate", "round_trip", "judge"):
        for row in collected(teacher(warehouse, step).rows):
            assert sha256_text(row["request"]) in sent


@pytest.mark.parametrize(
    ("step", "message"),
    [("check", "no step 'check' to distill: known are screen"), ("round_trip_support", "never ran")],
)
def test_a_step_without_replies_is_named(warehouse: Warehouse, step: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        teacher(warehouse, step)


class Priced:
    """An engine's prices: one for a token that is read anew, two for a written one."""

    def cost(self, prompt: int, cached: int, completion: int) -> float:
        return prompt - cached + 2.0 * completion


def test_the_teacher_is_priced_by_the_document(spark: SparkSession) -> None:
    columns = "document_key string, prompt_tokens int, cached_tokens int, completion_tokens int"
    rows = spark.createDataFrame([("a", 10, 4, 1), ("a", 10, 4, 1), ("b", 10, 4, 1)], columns)
    each = replies_a_document(Teacher(rows, None, {}))
    assert each == 1.5
    said = teacher_cost(Priced(), each, rows.limit(2).collect())  # type: ignore[arg-type]
    assert "1,000 documents with 1.5 such replies each" in said
    assert "10,500 tokens, 12000.00 in its prices" in said


def test_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["distill", "--base", "packaged", "--out", "/nonexistent"]
    assert cli.main(base) == cli.EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "pip install 'webscale-rl[distill]'" in said or "name a step" in said
    parsed = cli.build_parser().parse_args([*base, "judge"])
    assert isinstance(parsed, argparse.Namespace)
    assert parsed.step in steps()
