"""likelihood: what the model itself found unlikely is more often wrong."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.stages.check.gates.frame import FrameGate


def apply_likelihood(pairs: DataFrame, minimum: float) -> DataFrame:
    """The gate likelihood: what the model itself found unlikely is more often wrong.

    A long question has more places to go wrong, which a mean over tokens hides: so the mean
    log-probability of the reply's tokens is multiplied by the question's words, since the tables keep no
    count of the question's tokens. What is a good threshold depends on the model, its tokenizer and the
    form of its replies.

    Args:
        pairs: pair_key, question, mean_logprob.
        minimum: what passes.

    Returns:
        pair_key, gate, passed, reason (``unlikely``, or ``likelihood_missing`` where the engine gives
        no log-probability or there is no question), detail, score (that product).
    """
    words = F.nullif(F.regexp_count("question", F.lit(r"\S+")), F.lit(0))
    reason = F.when(F.col("score").isNull(), "likelihood_missing").when(F.col("score") < minimum, "unlikely")
    return pairs.withColumn("score", F.col("mean_logprob") * words).select(
        "pair_key",
        F.lit("likelihood").alias("gate"),
        reason.isNull().alias("passed"),
        reason.alias("reason"),
        F.lit(None).cast("string").alias("detail"),
        "score",
    )


class LikelihoodGate(FrameGate):
    """The gate likelihood."""

    name = "likelihood"
    summary = "The question was not unlikely to the model that wrote it."
    reasons = ("unlikely", "likelihood_missing")

    def body(self, settings: Any) -> dict[str, Any]:
        """The threshold."""
        return {"min_question_logprob": settings.min_question_logprob}

    def apply(self, pairs: DataFrame, settings: Any) -> DataFrame:
        """`apply_likelihood`."""
        return apply_likelihood(pairs, settings.min_question_logprob)
