"""Gates that ask a model."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body
from webscale_rl.llm.prompts import Prompt
from webscale_rl.llm.requests import asking_body
from webscale_rl.runtime.model_stage import Asker
from webscale_rl.stages.check.gates.base import Gate
from webscale_rl.text.context import supporting_context


class ModelGate(Gate, Asker):
    """A gate that asks a model about each pair.

    Its section of the check is an `AskingSettings`: engine, prompt, sampling, and whatever it adds.
    """

    @property
    def recipe_name(self) -> str:
        """What its recipe is called."""
        return f"check.{self.name}"

    def asking(self, settings: Any) -> AskingSettings:
        """How it asks, of the settings of the check."""
        found: AskingSettings = self.own_settings(settings)
        return found

    def body(self, settings: Any, prompt: Prompt, identity: dict[str, Any]) -> Body:
        """Everything that its verdicts depend on.

        Raises:
            ConfigError: the prompt lacks what the gate reads.
        """
        return asking_body(self.asking(settings), prompt, identity) | self.more(settings)

    def more(self, settings: Any) -> Body:
        """What its section has beside engine, prompt and sampling, for the recipe."""
        asking = self.asking(settings)
        added = asking.model_dump(mode="json", exclude=set(AskingSettings.model_fields))
        return {"settings": added} if added else {}

    def prefix(self, body: Body) -> Column:
        """The passage."""
        return F.col("passage_key")

    @abstractmethod
    def request(self, body: Body) -> Column:
        """The request of a prepared pair: columns of the table pairs, with passage and title."""

    @abstractmethod
    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """Verdicts (`gate_rows`); what cannot be read is a reason, never a pass."""


def gate_rows(rows: DataFrame, gate: str, reason: Column) -> DataFrame:
    """Verdicts of a gate that asked a model.

    Args:
        rows: pair_key, detail, score, request_id, and what ``reason`` is made from.
        reason: why a pair does not pass; null where it does.

    Returns:
        pair_key, gate, passed, reason, detail, score, request_id, and status and reasons as a stage's rows
        have them.
    """
    reasoned = rows.withColumn("_reason", reason)
    return reasoned.select(
        "pair_key",
        F.lit(gate).alias("gate"),
        F.col("_reason").isNull().alias("passed"),
        F.col("_reason").alias("reason"),
        "detail",
        "score",
        "request_id",
        # As every stage's rows have them, for progress and the count of unreadable replies.
        F.when(F.col("_reason").isNull(), "kept").otherwise("rejected").alias("status"),
        F.array_compact(F.array("_reason")).alias("reasons"),
    )


def support_column(sentence: str, passage: str) -> Column:
    """The quotation with what introduces it in the passage: what the answer rests on.

    Args:
        sentence, passage: names of columns.
    """

    def contexts(quotations: pd.Series, passages: pd.Series) -> pd.Series:
        return pd.Series(
            [supporting_context(q or "", p or "") for q, p in zip(quotations, passages, strict=True)],
            dtype=object,
        )

    found: Column = pandas_udf(contexts, "string")(sentence, passage)  # type: ignore[call-overload]
    return found
