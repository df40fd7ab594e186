"""Verdicts as rows: of the rules on a pair, and of all gates as the check's own row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.answers.registry import ANSWER_TYPES, adopt
from webscale_rl.stages.check.gates.base import VERDICT_DDL, PairView, RuleGate
from webscale_rl.stages.check.gates.rules import evaluate


def apply_rules(pairs: DataFrame, gates: Sequence[RuleGate], settings: Any) -> DataFrame:
    """The rule gates' verdicts: one row a (pair, gate).

    Args:
        settings: of the check.
        pairs: pair_key, question, answer, answer_type, quotation, passage, title.

    Returns:
        pair_key, gate, passed, reason, detail, score.
    """
    types = tuple(ANSWER_TYPES)

    def verdicts(batches: Any) -> Any:
        adopt(types)
        for frame in batches:
            rows = []
            for row in frame.itertuples(index=False):
                view = PairView(
                    question=row.question or "",
                    answer=row.answer or "",
                    answer_type=row.answer_type or "",
                    quotation=row.quotation or "",
                    passage=row.passage or "",
                    title=row.title or "",
                )
                for gate, reason in evaluate(view, gates, settings).items():
                    rows.append((row.pair_key, gate, reason is None, reason, None, None))
            yield pd.DataFrame(rows, columns=[c.split()[0] for c in VERDICT_DDL.split(", ")])

    columns = ("pair_key", "question", "answer", "answer_type", "quotation", "passage", "title")
    return pairs.select(*columns).mapInPandas(verdicts, VERDICT_DDL)


def derive(pairs: DataFrame, verdicts: DataFrame, gates: Sequence[str]) -> DataFrame:
    """The check's rows for the pairs that are decided: some gate failed, or all have passed.

    Args:
        pairs: pair_key.
        verdicts: pair_key, gate, passed, reason, score under the gates' recipes in force.
        gates: names of the gates that the configuration has.

    Returns:
        pair_key, verdicts map<string, boolean>, scores map<string, double>, status, reasons.
    """
    gathered = verdicts.groupBy("pair_key").agg(
        F.map_from_entries(F.collect_list(F.struct("gate", "passed"))).alias("_passed"),
        F.map_from_entries(
            F.collect_list(F.when(F.col("score").isNotNull(), F.struct("gate", "score")))
        ).alias("scores"),
        F.sort_array(F.collect_set("reason")).alias("reasons"),
        F.bool_and("passed").alias("_all"),
    )
    ran = [F.element_at("_passed", F.lit(gate)) for gate in gates]
    entries = [piece for gate, passed in zip(gates, ran, strict=True) for piece in (F.lit(gate), passed)]
    complete = F.lit(True)
    for passed in ran:
        complete = complete & passed.isNotNull()
    return (
        pairs.select("pair_key")
        .join(gathered, "pair_key")
        .where(~F.col("_all") | complete)
        .select(
            "pair_key",
            F.create_map(*entries).alias("verdicts"),
            "scores",
            F.when(F.col("_all"), "kept").otherwise("rejected").alias("status"),
            "reasons",
        )
    )
