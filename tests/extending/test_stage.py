"""A stage between two others, from this one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.fakes import called
from tests.helpers import by_stage, collected, documents, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.cli import main as cli
from webscale_rl.core.settings import Section
from webscale_rl.core.stage import Subject
from webscale_rl.core.table import INT, stage_table
from webscale_rl.errors import ConfigError
from webscale_rl.report.datamodel import markdown
from webscale_rl.report.show import show
from webscale_rl.runtime.budget import Budget
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.frame_stage import FrameStage
from webscale_rl.stages.registry import STAGES


class BannedSettings(Section):
    """Words that no passage may have."""

    words: list[str] = Field(default=[], description="a passage with one of these is rejected")


class BannedStage(FrameStage[BannedSettings]):
    """Rejects passages with banned words."""

    name = "banned"
    version = 1
    after = "identify"
    summary = "reject passages with banned words"
    subject = Subject.PASSAGE
    table = stage_table(
        "allowed", "banned: whether a passage has banned words", "passage_key", ("found", INT, "how many")
    )
    settings = BannedSettings

    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """passage_key, found, status, reasons."""
        words = F.lit(0)
        for word in self.section(context.parts.sections).words:
            words = words + F.contains(F.col("text"), F.lit(word)).cast("int")
        reasons = F.when(words > 0, F.array(F.lit("banned_word"))).otherwise(F.array().cast("array<string>"))
        status = F.when(words > 0, "rejected").otherwise("kept")
        return rows.select(
            "passage_key", words.alias("found"), status.alias("status"), reasons.alias("reasons")
        )

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """How many were found."""
        return [("banned words", str(row["found"]))]


def register() -> None:
    """What the configuration's `plugins` calls."""
    STAGES.register(BannedStage())


@pytest.fixture(autouse=True, scope="module")
def added() -> Iterator[None]:
    with STAGES.added(BannedStage()):
        yield


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Three documents, of which one is banned; stopped on the way, and resumed."""
    folder = tmp_path_factory.mktemp("stage")
    settings = {"banned": {"words": ["Number1"]}}
    pipeline = make_pipeline(spark, folder, documents(3), settings, replies=prepared(3))
    planned = {line.stage: line for line in pipeline.plan()}
    assert list(planned) == list(STAGES.names)
    assert (planned["banned"].pending, planned["banned"].requests, planned["banned"].bound) == (3, 0, True)
    stopped = pipeline.run(stages=STAGES.names[: STAGES.names.index("check")], budget=Budget(max_requests=5))
    assert stopped.outcome == "stopped"
    assert pipeline.open().read("allowed").count() == 3
    assert pipeline.run().outcome == "done"
    calls = called(folder / "log")
    assert len(calls) == len(set(calls)), "a request was paid for twice"
    return pipeline


def test_it_stands_between_its_neighbours() -> None:
    names = STAGES.names
    assert names[names.index("banned") - 1 : names.index("banned") + 2] == ("identify", "banned", "generate")


def test_what_it_rejects_goes_no_further(ran: Pipeline) -> None:
    funnel = by_stage(ran.status())
    line = funnel["banned"]
    assert (line.rows_in, line.kept, line.rejected, line.reasons) == (3, 2, 1, {"banned_word": 1})
    assert funnel["generate"].rows_in == 4
    assert ran.sql(
        "SELECT count(*) FROM pairs JOIN allowed USING (passage_key) WHERE found > 0"
    ).collect() == [(0,)]
    rejects = collected(ran.sql("SELECT stage, reasons FROM rejects WHERE stage = 'banned'"))
    assert rejects == [{"stage": "banned", "reasons": ["banned_word"]}]
    assert ran.open().read("qa_pairs").count() == 4
    assert {"banned"} <= set(collected(ran.open().read("qa_pairs").limit(1))[0]["recipes"])


def test_it_is_shown_and_documented(ran: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    key = collected(ran.sql("SELECT passage_key FROM allowed WHERE status = 'rejected'"))[0]["passage_key"]
    document = collected(ran.sql(f"SELECT document_key FROM passages WHERE passage_key = '{key}'"))[0]
    assert "banned rejected: banned_word" in show(ran.open(), document["document_key"])
    text = show(ran.open(), key)
    assert "banned: rejected: banned_word" in text
    assert "banned words    1" in text
    assert "### allowed" in markdown()
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    assert "identify, banned, generate" in " ".join(capsys.readouterr().out.split())


def test_a_changed_setting_asks_only_about_new_rows(ran: Pipeline, spark: SparkSession) -> None:
    folder = Path(ran.open().location).parent
    before = len(called(folder / "log"))
    changed = make_pipeline(spark, folder, settings={"banned": {"words": []}}, replies=prepared(3))
    changed.run(stages=["screen", "identify", "banned", "generate"])
    assert len(called(folder / "log")) - before == 2, "the two personas of the document that was banned"


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"banned.word'.*did you mean 'words'"):
        Pipeline(config={"banned": {"word": []}})
