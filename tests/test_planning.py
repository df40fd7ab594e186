"""What a plan says where nobody can know how many rows there will be."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.helpers import SAMPLING, documents, make_pipeline
from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body, Subject
from webscale_rl.core.table import stage_table
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.requests import asking_body, request
from webscale_rl.report import text
from webscale_rl.runtime.model_stage import ModelStage
from webscale_rl.stages.registry import STAGES


class TranslateStage(ModelStage[AskingSettings]):
    """Asks about whole documents, before they become passages."""

    name = "translate"
    after = "deduplicate"
    summary = "translate the documents"
    subject = Subject.DOCUMENT
    table = stage_table("translated", "translate: documents", "document_key")
    settings = AskingSettings

    def recipe(self, parts: Parts) -> Body:
        """What it asks."""
        return asking_body(self.section(parts.sections), *parts.asked(self.section(parts.sections)))

    def request(self, body: Body) -> Column:
        """The text."""
        return request(body, {"passage": F.col("text")})

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """Every document."""
        return completed.select("document_key", F.lit("kept").alias("status"), F.array().alias("reasons"))


def test_a_plan_says_where_more_may_come_than_it_can_count(spark: SparkSession, tmp_path: Path) -> None:
    prompt = tmp_path / "translate.yml"
    prompt.write_text('version: 1\nmax_tokens: 5\nuser: "Translate: {passage}"\n', encoding="utf-8")
    asking = {"engine": "fake", "prompt": str(prompt), "sampling": SAMPLING}
    with STAGES.added(TranslateStage()):
        planned = make_pipeline(spark, tmp_path, documents(3), {"translate": asking}).plan()
    lines = {line.stage: line for line in planned}
    seen = {name: (line.pending, line.bound, line.open_ended) for name, line in lines.items()}
    assert seen["translate"] == (3, False, False)
    assert seen["segment"] == (3, True, False), "every document may be kept"
    assert seen["screen"] == (0, False, True), "a document may give any number of passages"
    assert all(line.open_ended for line in planned[STAGES.names.index("screen") + 1 :])
    shown = text.plan(planned)
    assert next(line for line in shown.split("\n") if line.startswith("screen")).endswith("and more")
    assert "and more that nobody can tell yet" in shown
