"""The round trips: the question is answered again, and both answers must agree.

``round_trip`` shows the passage without the answer, ``round_trip_support`` the sentences that support the
answer, alone. Agreement is told by the comparison of the answer's type.
"""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from webscale_rl.answers.registry import ANSWER_TYPES, adopt, agree
from webscale_rl.answers.types import SPAN
from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body
from webscale_rl.errors import ConfigError
from webscale_rl.llm.prompts import Prompt
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import request, require_reply_fields
from webscale_rl.stages.check.gates.model import ModelGate, gate_rows, support_column
from webscale_rl.text.context import answer_choices


class RoundTripSettings(AskingSettings):
    """How a question is answered again."""

    method: Literal["free", "choices"] = Field(
        description="free: the model writes the answer; choices: it chooses among spans of the "
        "answer's type, which is what a very small model can do"
    )
    min_margin: float = Field(
        ge=0,
        description="choices: minimum margin of the answer's mean log-probability over the next best",
    )


class RoundTrip(ModelGate):
    """The gate round_trip."""

    name = "round_trip"
    summary = "The model finds the same answer in the passage."
    reasons = ("unanswerable", "answer_not_confirmed", "no_other_choice", "answer_uncertain")
    section = "round_trip"
    lessons = "passed"

    def body(self, settings: Any, prompt: Prompt, identity: dict[str, Any]) -> Body:
        """How it asks, and what is done with choices."""
        asking: RoundTripSettings = self.own_settings(settings)
        if asking.method == "free" and prompt.response_schema is not None:
            require_reply_fields(prompt, asking.prompt, {"answer"})
        return super().body(settings, prompt, identity)

    def more(self, settings: Any) -> Body:
        """The method and its threshold."""
        asking: RoundTripSettings = self.own_settings(settings)
        return {"method": asking.method, "min_margin": asking.min_margin}

    def prepare(self, rows: DataFrame, body: Body) -> DataFrame:
        """The pairs with `context`, where the prompt shows one, and with `choices` to choose from."""
        if body["method"] == "choices":
            return _with_choices(rows)
        if "{context}" not in body["prompt"]["user"]:
            return rows
        return rows.withColumn("context", F.col("passage"))

    def request(self, body: Body) -> Column:
        """The request of a prepared pair; it never holds the answer alone."""
        row_choices = None
        if self._has_choices(body):
            row_choices = F.transform("choices", lambda choice: F.concat(F.lit(" "), choice))
        values = {name: F.col(name) for name in ("title", "passage", "question", "context")}
        schema = None if row_choices is not None else self.reply_schema(body)
        return request(body, values, schema=schema, row_choices=row_choices)

    def _has_choices(self, body: Body) -> bool:
        return bool(body["method"] == "choices")

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """`finish_round_trip`."""
        return finish_round_trip(completed, body)


class RoundTripSupport(RoundTrip):
    """The gate round_trip_support."""

    name = "round_trip_support"
    summary = "The model finds the same answer in the sentences that support it, alone."

    def body(self, settings: Any, prompt: Prompt, identity: dict[str, Any]) -> Body:
        """As of round_trip; the prompt needs a place for the sentences."""
        if "context" not in prompt.placeholders():
            asking = self.asking(settings)
            raise ConfigError(f"gate {self.name}: the prompt {asking.prompt} has no place for {{context}}")
        return super().body(settings, prompt, identity)

    def prepare(self, rows: DataFrame, body: Body) -> DataFrame:
        """The pairs with the quotation and what introduces it as `context`."""
        if "{context}" not in body["prompt"]["user"]:
            return rows
        return rows.withColumn("context", support_column("quotation", "passage"))

    def _has_choices(self, body: Body) -> bool:
        return False


def _with_choices(pairs: DataFrame) -> DataFrame:
    """The pairs with `choices`, spans of the answer's type, and the `context` that they are taken from."""

    def choices(
        questions: pd.Series, answers: pd.Series, types: pd.Series, passages: pd.Series
    ) -> pd.DataFrame:
        rows = [
            answer_choices(*[value or "" for value in row])
            for row in zip(questions, answers, types, passages, strict=True)
        ]
        return pd.DataFrame(
            {"choices": [list(c) for c, _ in rows], "context": [context for _, context in rows]}
        )

    found = pandas_udf(choices, "choices array<string>, context string")  # type: ignore[call-overload]
    columns = ("question", "answer", "answer_type", "passage")
    return (
        pairs.withColumn("_found", found(*columns))
        .select("*", "_found.choices", "_found.context")
        .drop("_found")
    )


def finish_round_trip(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Verdicts of a round trip: pair_key, gate, passed, reason, detail, score, request_id.

    Reasons: the engine's or the reply's fault, ``unanswerable`` (the model finds no answer),
    ``answer_not_confirmed`` (it finds another one); with choices also ``no_other_choice`` (the passage has
    no other span to choose) and ``answer_uncertain`` (another is nearly as likely).
    """
    schema = body["prompt"].get("response_schema")
    read = completed.withColumn("_reply", reply_column(schema, F.col("passage")))
    if schema is None:
        given = F.trim(F.substring_index("_reply.value", "\n", 1))
    else:
        given = F.from_json("_reply.value", "answer string")["answer"]

    types = tuple(ANSWER_TYPES)

    def compare(expected: pd.Series, found: pd.Series, kinds: pd.Series) -> pd.DataFrame:
        adopt(types)
        rows = []
        for one, other, kind in zip(expected, found, kinds, strict=True):
            if not other or not one:
                rows.append((False, 0.0))
            else:
                agreement = agree(one, other, kind if kind in ANSWER_TYPES else SPAN)
                rows.append((agreement.agrees, float(agreement.score)))
        return pd.DataFrame(rows, columns=["agrees", "score"])

    comparison = pandas_udf(compare, "agrees boolean, score double")  # type: ignore[call-overload]
    compared = read.withColumn("detail", given).withColumn(
        "_agreed", comparison("answer", "detail", "answer_type")
    )
    if body["method"] == "choices":
        # The best choice is the reply; what counts beside it is how far it is from the next.
        ranked = F.sort_array("completion.choice_logprobs", asc=False)
        margin = F.get(ranked, 0) - F.get(ranked, 1)
        compared = compared.withColumn("_margin", margin)
    else:
        compared = compared.withColumn("_margin", F.lit(None).cast("double"))
    unanswerable = F.lower(F.regexp_replace("detail", r"[^A-Za-z]", "")) == "unanswerable"
    reason = F.coalesce(
        F.col("_reply.reason"),
        F.when(unanswerable, "unanswerable"),
        F.when(~F.col("_agreed.agrees"), "answer_not_confirmed"),
        F.when(F.lit(body["method"] == "choices") & F.col("_margin").isNull(), "no_other_choice"),
        F.when(F.col("_margin") < body["min_margin"], "answer_uncertain"),
    )
    score = F.coalesce("_margin", F.col("_agreed.score"))
    return gate_rows(compared.withColumn("score", score), body["gates"][0], reason)
