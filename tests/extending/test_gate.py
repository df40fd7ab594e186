"""A rule gate and a gate that asks a model, from this one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import Field
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fakes import called
from tests.helpers import SAMPLING, by_stage, collected, documents, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.core.settings import AskingSettings, Section
from webscale_rl.core.stage import Body
from webscale_rl.distill.tables import steps
from webscale_rl.errors import ConfigError
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import request
from webscale_rl.report.show import show
from webscale_rl.runtime.budget import Budget
from webscale_rl.stages.check.gates.base import GATES, PairView, RuleGate
from webscale_rl.stages.check.gates.model import ModelGate, gate_rows
from webscale_rl.stages.registry import STAGES

PROMPT = """\
version: 1
max_tokens: 5
user: "{passage}\\nSecond opinion on: {question}"
"""


class EndingSettings(Section):
    """How questions end."""

    mark: str = Field(default="?", description="what a question must end with")


class EndingGate(RuleGate):
    """A rule with a setting of its own."""

    name = "ending"
    summary = "The question ends as it should."
    reasons = ("wrong_ending",)
    section = "ending"
    settings = EndingSettings

    def judge(self, pair: PairView, settings: EndingSettings) -> str | None:
        """Against any other ending."""
        return None if pair.question.endswith(settings.mark) else "wrong_ending"


class SecondOpinion(ModelGate):
    """A gate that asks a model."""

    name = "second_opinion"
    summary = "Another model does not object."
    reasons = ("objected",)
    section = "second_opinion"
    settings = AskingSettings

    def request(self, body: Body) -> Column:
        """Passage and question."""
        return request(body, {name: F.col(name) for name in ("passage", "question")})

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """Anything but an objection passes."""
        read = completed.withColumn("_reply", reply_column(None)).withColumn("detail", F.col("_reply.value"))
        reason = F.coalesce("_reply.reason", F.when(F.col("detail") == "I object", "objected"))
        return gate_rows(read.withColumn("score", F.lit(None).cast("double")), self.name, reason)


def register() -> None:
    """What the configuration's `plugins` calls."""
    GATES.register(EndingGate())
    GATES.register(SecondOpinion())


@pytest.fixture(autouse=True, scope="module")
def added() -> Iterator[None]:
    with GATES.added(EndingGate(), SecondOpinion()):
        yield


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Two documents with two pairs each; of one the other model objects. Stopped among the gates, and
    resumed.
    """
    folder = tmp_path_factory.mktemp("gate")
    prompt = folder / "opinion.yml"
    prompt.write_text(PROMPT, encoding="utf-8")
    asking = {"engine": "fake", "prompt": str(prompt), "sampling": SAMPLING}
    gates = ["lengths", "ending", "second_opinion"]
    replies = prepared(2) | {
        "opinion on: How high in metres is the mountain called Mount Number1": "I object"
    }
    settings = {"check": {"gates": gates, "second_opinion": asking}}
    pipeline = make_pipeline(spark, folder, documents(2), settings, replies=replies)
    *until, last = STAGES.names
    assert pipeline.run(stages=until, budget=Budget(max_requests=7)).outcome == "stopped"
    (line,) = pipeline.plan(stages=["check"])
    assert (line.pending, line.requests) == (4, 4)
    assert line.cost is not None
    assert line.cost > 0
    assert pipeline.run(stages=["check", last]).outcome == "done"
    calls = called(folder / "log")
    assert len(calls) == len(set(calls)) == 2 + 4 + 4
    return pipeline


def test_both_judge(ran: Pipeline) -> None:
    line = by_stage(ran.status())["check"]
    assert (line.rows_in, line.kept, line.rejected, line.reasons) == (4, 3, 1, {"objected": 1})
    assert line.requests == 4
    (product, *_) = collected(ran.open().read("qa_pairs").limit(1))
    assert product["verdicts"] == {"lengths": True, "ending": True, "second_opinion": True}
    assert "check.second_opinion" in product["models"]


def test_they_are_shown_and_can_be_taught(ran: Pipeline) -> None:
    key = collected(ran.sql("SELECT pair_key FROM gate_verdicts WHERE reason = 'objected'"))[0]["pair_key"]
    text = " ".join(show(ran.open(), key).split())
    assert "second_opinion failed: objected; saw: I object" in text
    assert "Second opinion on: How high" in text
    assert "NOT what was sent" not in text
    assert steps()["second_opinion"] == "check.second_opinion"


def test_a_rules_setting_is_part_of_its_recipe(ran: Pipeline, spark: SparkSession) -> None:
    folder = Path(ran.open().location).parent
    before = len(called(folder / "log"))
    gates = {"check": {"gates": ["lengths", "ending"], "ending": {"mark": "!"}}}
    strict = make_pipeline(spark, folder, settings=gates, replies=prepared(2))
    strict.run(stages=["check"])
    assert by_stage(strict.status())["check"].reasons == {"wrong_ending": 4}
    assert len(called(folder / "log")) == before


def test_a_gate_without_its_section_is_named() -> None:
    with pytest.raises(ConfigError, match="second_opinion"):
        Pipeline(config={"check": {"gates": ["second_opinion"]}}).bodies(["check"])
