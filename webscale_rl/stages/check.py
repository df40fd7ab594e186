"""check: is a pair right, self-contained, and not giving its answer away?

Gates run in the configured order, each only on the pairs that the ones before it passed; consecutive
rule gates are evaluated together, so that all their reasons are seen, and consecutive gates of a model whose
prompts begin alike, so that it reads each passage once for all of them. Every verdict is a row of
`gate_verdicts` under the gate's own recipe; the check's row is derived from them. A gate that did not
run is null, never true; a judgement that cannot be read rejects.

Gates: the rules of `webscale_rl.answers.gates`; ``likelihood`` (the model's own log-probabilities of
what it wrote); ``duplicate_question`` (against siblings of the same
passage, the lowest ordinal stays); ``round_trip`` (the question is answered again from the passage
without its answer, and both must agree under a comparison fit for the answer's type);
``round_trip_support`` (the same from the sentences that support the answer, alone); ``judge`` (a
model's word on correctness, self-containedness and leakage; paper, section 3.4).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from webscale_rl.answers.compare import agree
from webscale_rl.answers.context import answer_choices, supporting_context
from webscale_rl.answers.gates import GateSettings, PairView, evaluate, same_question
from webscale_rl.answers.types import ANSWER_TYPES, SPAN
from webscale_rl.llm.asking import request
from webscale_rl.llm.parsing import reply_column
from webscale_rl.stages.check_steps import (
    DUPLICATE,
    JUDGE,
    LIKELIHOOD,
    ROUND_TRIP,
    ROUND_TRIPS,
    VERDICTS,
    CheckSettings,
    Step,
)

_VERDICT = "pair_key string, gate string, passed boolean, reason string, detail string, score double"


def apply_rules(pairs: DataFrame, step: Step, settings: GateSettings) -> DataFrame:
    """The rule gates' verdicts: one row a (pair, gate).

    Args:
        pairs: pair_key, question, answer, answer_type, quotation, passage, title.

    Returns:
        pair_key, gate, passed, reason, detail, score.
    """
    names = list(step.gates)

    def verdicts(batches: Any) -> Any:
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
                for gate, reason in evaluate(view, names, settings).items():
                    rows.append((row.pair_key, gate, reason is None, reason, None, None))
            yield pd.DataFrame(rows, columns=[c.split()[0] for c in _VERDICT.split(", ")])

    columns = ("pair_key", "question", "answer", "answer_type", "quotation", "passage", "title")
    return pairs.select(*columns).mapInPandas(verdicts, _VERDICT)


def apply_likelihood(pairs: DataFrame, least: float) -> DataFrame:
    """The gate likelihood: what the model itself found unlikely is more often wrong.

    A long question has more places to go wrong, which a mean over tokens hides: so the mean
    log-probability of the reply's tokens is multiplied by the question's words, since the tables keep no
    count of the question's tokens. What is a good threshold depends on the model, its tokenizer and the
    form of its replies.

    Args:
        pairs: pair_key, question, mean_logprob.
        least: what passes.

    Returns:
        pair_key, gate, passed, reason (``unlikely``, or ``likelihood_missing`` where the engine gives
        no log-probability or there is no question), detail, score (that product).
    """
    words = F.nullif(F.regexp_count("question", F.lit(r"\S+")), F.lit(0))
    reason = F.when(F.col("score").isNull(), "likelihood_missing").when(F.col("score") < least, "unlikely")
    return pairs.withColumn("score", F.col("mean_logprob") * words).select(
        "pair_key",
        F.lit(LIKELIHOOD).alias("gate"),
        reason.isNull().alias("passed"),
        reason.alias("reason"),
        F.lit(None).cast("string").alias("detail"),
        "score",
    )


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
            rows.append((row.pair_key, DUPLICATE, twin is None, reason, twin, None))
        return pd.DataFrame(rows, columns=[c.split()[0] for c in _VERDICT.split(", ")])

    needed = pairs.select("pair_key", "passage_key", "ordinal", "question")
    return needed.groupBy("passage_key").applyInPandas(verdicts, _VERDICT)


def prepare(pairs: DataFrame, step: Step, body: dict[str, Any]) -> DataFrame:
    """The pairs with what a gate's request needs beside them: `context`, and `choices` to choose from."""
    if step.kind not in (*ROUND_TRIPS, JUDGE):
        return pairs
    if step.kind != ROUND_TRIP or body["method"] == "free":
        if "{context}" not in body["prompt"]["user"]:
            return pairs
        if step.kind == ROUND_TRIP:
            return pairs.withColumn("context", F.col("passage"))
        # The quotation with what introduces it: what the answer rests on.
        return pairs.withColumn("context", _support("quotation", "passage"))

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


def _support(sentence: str, passage: str) -> Column:
    def contexts(quotations: pd.Series, passages: pd.Series) -> pd.Series:
        return pd.Series(
            [supporting_context(q or "", p or "") for q, p in zip(quotations, passages, strict=True)],
            dtype=object,
        )

    found: Column = pandas_udf(contexts, "string")(sentence, passage)  # type: ignore[call-overload]
    return found


def gate_request(body: dict[str, Any], step: Step) -> Column:
    """The request of a pair (columns of `prepare`). The round trip's never holds the answer alone."""
    values = {
        "title": F.col("title"),
        "passage": F.col("passage"),
        "question": F.col("question"),
        "context": F.col("context"),
    }
    if step.kind == JUDGE:
        values |= {"answer": F.col("answer"), "quotation": F.col("quotation")}
        if body.get("method") == "verdict":
            return request(body, values, choices=[f" {verdict}" for verdict in VERDICTS])
    if step.kind == ROUND_TRIP and body["method"] == "choices":
        return request(
            body,
            values,
            row_choices=F.transform("choices", lambda choice: F.concat(F.lit(" "), choice)),
        )
    return request(body, values, schema=body["prompt"].get("response_schema"))


def prefix() -> Column:
    """What a gate's requests share at their start: the passage."""
    return F.col("passage_key")


def finish(completed: DataFrame, step: Step, body: dict[str, Any]) -> DataFrame:
    """Verdicts of a gate that asks a model (`finish_round_trip`, `finish_judge`)."""
    return finish_judge(completed, body) if step.kind == JUDGE else finish_round_trip(completed, body)


def finish_round_trip(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Verdicts of a round trip: pair_key, gate, passed, reason, detail, score, request_id.

    Reasons: the engine's or the reply's fault, ``unanswerable`` (the model finds no answer),
    ``answer_not_confirmed`` (it finds another one); with choices also ``no_other_choice`` (the passage has
    no other span to choose) and ``answer_uncertain`` (another is nearly as likely).
    """
    schema = body["prompt"].get("response_schema")
    read = completed.withColumn("_reply", reply_column(schema))
    if schema is None:
        given = F.trim(F.substring_index("_reply.value", "\n", 1))
    else:
        given = F.from_json("_reply.value", "answer string")["answer"]

    def compare(expected: pd.Series, found: pd.Series, kinds: pd.Series) -> pd.DataFrame:
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
    return _gate_rows(compared.withColumn("score", score), body["gates"][0], reason)


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
    return _gate_rows(judged, JUDGE, reason)


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
    return _gate_rows(judged, JUDGE, F.coalesce(fault, F.when(good < body["min_good"], why)))


def _gate_rows(rows: DataFrame, gate: str, reason: Column) -> DataFrame:
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


def derive(pairs: DataFrame, verdicts: DataFrame, settings: CheckSettings) -> DataFrame:
    """The check's rows for the pairs that are decided: some gate failed, or all have passed.

    Args:
        pairs: pair_key.
        verdicts: pair_key, gate, passed, reason, score under the gates' recipes in force.

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
    ran = [F.element_at("_passed", F.lit(gate)) for gate in settings.gates]
    entries = [
        piece for gate, passed in zip(settings.gates, ran, strict=True) for piece in (F.lit(gate), passed)
    ]
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
