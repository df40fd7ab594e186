"""duplicate_question: a question that an earlier persona of the passage asks already."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from webscale_rl.stages.check.gates.base import VERDICT_DDL
from webscale_rl.stages.check.gates.frame import FrameGate
from webscale_rl.stages.check.gates.rules import same_question


def apply_duplicates(pairs: DataFrame) -> DataFrame:
    """The gate duplicate_question: a question that an earlier persona of the passage asks already.

    Args:
        pairs: pair_key, passage_key, ordinal, question of all pairs of each passage that are to be
            compared with each other.

    Returns:
        pair_key, gate, passed, reason, detail (the question that stays), score.
    """

    def verdicts(frame: pd.DataFrame) -> pd.DataFrame:
        rows: list[tuple[Any, ...]] = []
        stay: list[str] = []
        for row in frame.sort_values(["ordinal", "pair_key"]).itertuples(index=False):
            question = str(row.question or "")
            twin = next((other for other in stay if same_question(question, other)), None)
            if twin is None:
                stay.append(question)
            reason = None if twin is None else "duplicate_question"
            rows.append((row.pair_key, "duplicate_question", twin is None, reason, twin, None))
        return pd.DataFrame(rows, columns=[c.split()[0] for c in VERDICT_DDL.split(", ")])

    needed = pairs.select("pair_key", "passage_key", "ordinal", "question")
    return needed.groupBy("passage_key").applyInPandas(verdicts, VERDICT_DDL)


class DuplicateQuestionGate(FrameGate):
    """The gate duplicate_question: of siblings that ask the same the lowest ordinal stays."""

    name = "duplicate_question"
    summary = "No earlier persona of the passage asks the same."
    reasons = ("duplicate_question",)
    compares = True

    def apply(self, pairs: DataFrame, settings: Any) -> DataFrame:
        """`apply_duplicates`."""
        return apply_duplicates(pairs)
