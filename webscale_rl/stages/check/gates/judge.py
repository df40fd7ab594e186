"""judge: a model's verdict on correctness, self-containedness and leakage (paper, section 3.4)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body
from webscale_rl.llm.prompts import Prompt
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import request, require_reply_fields
from webscale_rl.stages.check.gates.model import ModelGate, gate_rows, support_column

#: What the method verdict scores, and the reason that each stands for.
VERDICTS = {
    "good": None,
    "wrong": "judged_wrong",
    "unclear": "judged_not_self_contained",
    "leaking": "judged_leaking",
}


class JudgeSettings(AskingSettings):
    """How a model judges."""

    method: Literal["prompt", "verdict"] = Field(
        description="prompt: the model writes its judgement under the prompt's schema; verdict: the words "
        "good, wrong, unclear and leaking are scored, which is what a small tuned model can do"
    )
    min_good: float = Field(ge=0, le=1, description="verdict: minimum probability of good among the four")


class Judge(ModelGate):
    """The gate judge."""

    name = "judge"
    summary = "A model finds the pair right, self-contained and not leaking."
    reasons = ("judged_wrong", "judged_not_self_contained", "judged_leaking", "reply_missing")
    section = "judge"

    def body(self, settings: Any, prompt: Prompt, identity: dict[str, Any]) -> Body:
        """How it asks; what it reads must be in the prompt's schema."""
        asking: JudgeSettings = self.own_settings(settings)
        if asking.method == "prompt":
            require_reply_fields(prompt, asking.prompt, {"correct", "self_contained", "leaks_answer"})
        return super().body(settings, prompt, identity)

    def more(self, settings: Any) -> Body:
        """The threshold of the method verdict."""
        asking: JudgeSettings = self.own_settings(settings)
        return {} if asking.method == "prompt" else {"method": "verdict", "min_good": asking.min_good}

    def prepare(self, rows: DataFrame, body: Body) -> DataFrame:
        """The pairs with the quotation and what introduces it as `context`, where the prompt shows one."""
        if "{context}" not in body["prompt"]["user"]:
            return rows
        return rows.withColumn("context", support_column("quotation", "passage"))

    def request(self, body: Body) -> Column:
        """The request of a pair, its answer included."""
        names = ("title", "passage", "question", "context", "answer", "quotation")
        values = {name: F.col(name) for name in names}
        if body.get("method") == "verdict":
            return request(body, values, choices=[f" {verdict}" for verdict in VERDICTS])
        return request(body, values, schema=self.reply_schema(body))

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """`finish_judge`."""
        return finish_judge(completed, body)


def finish_judge(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Verdicts of the judge; what it fails to judge is rejected.

    Reasons: the engine's or the reply's fault, ``judged_wrong``, ``judged_not_self_contained``,
    ``judged_leaking``.
    """
    if body.get("method") == "verdict":
        return _finish_verdict(completed, body)
    read = completed.withColumn("_reply", reply_column(body["prompt"].get("response_schema")))
    read = read.withColumn(
        "_value",
        F.from_json(
            "_reply.value",
            "correct boolean, self_contained boolean, leaks_answer boolean, reason string",
        ),
    )
    reason = F.coalesce(
        F.col("_reply.reason"),
        F.when(~F.coalesce("_value.correct", F.lit(False)), "judged_wrong"),
        F.when(~F.coalesce("_value.self_contained", F.lit(False)), "judged_not_self_contained"),
        F.when(F.coalesce("_value.leaks_answer", F.lit(True)), "judged_leaking"),
    )
    judged = read.withColumn("detail", F.col("_value.reason")).withColumn("score", F.lit(None).cast("double"))
    return gate_rows(judged, "judge", reason)


def _finish_verdict(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    scores = F.col("completion.choice_logprobs")
    shares = [F.exp(F.get(scores, place)) for place in range(len(VERDICTS))]
    good = shares[0] / (shares[0] + shares[1] + shares[2] + shares[3])
    worst = F.greatest(*shares[1:])
    why = F.when(worst == shares[1], list(VERDICTS.values())[1])
    for share, reason in list(zip(shares, VERDICTS.values(), strict=True))[2:]:
        why = why.when(worst == share, reason)
    fault = F.when(
        F.col("completion.finish_reason") == "error", F.substring_index("completion.error", ":", 1)
    ).when(good.isNull(), "reply_missing")
    judged = completed.withColumn("detail", F.trim("completion.text")).withColumn("score", good)
    return gate_rows(judged, "judge", F.coalesce(fault, F.when(good < body["min_good"], why)))
