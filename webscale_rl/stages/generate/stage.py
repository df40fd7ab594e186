"""generate: one question-answer pair a persona, few-shot from the domain's demonstrations.

Two strategies. *question_first* (paper, section 3.3): a capable model reads the passage and writes
question, answer, type and quotation for the persona. *answer_first*: a span is chosen from the passage
by rules, and the model writes the question that it answers; that is what a very small model can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body, Subject, kept
from webscale_rl.core.table import (
    DOUBLE,
    INT,
    STRING,
    stage_table,
)
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.prompts import Demonstration, Domain, Prompt, render_demonstrations
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import asking_body, domain_data, request, require_reply_fields
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.model_stage import ModelStage
from webscale_rl.stages.identify.stage import STAGE as IDENTIFY
from webscale_rl.stages.identify.stage import personas_limit
from webscale_rl.text.context import chosen_spans, context_of, supporting_context
from webscale_rl.text.spans import Span

VERSION = 6

_SPAN_FIELDS = ("answer", "answer_type", "kind", "sentence", "context", "opening")
_SPAN = f"struct<{', '.join(f'{name}: string' for name in _SPAN_FIELDS)}>"
_REPLY = "question string, answer string, answer_type string, quotation string"


class GenerateSettings(AskingSettings):
    """How pairs are written."""

    strategy: Literal["question_first", "answer_first"] = Field(
        description="who chooses the answer: the model with its question, or rules before it"
    )
    context: Literal["sentence", "support"] = Field(
        description="answer_first: what the model is shown of the passage: the answer's sentence (with the "
        "one before where it leans on it), or also the passage's first sentence and the one before"
    )
    demonstrations: int = Field(
        ge=0,
        description="worked examples of the domain in the prompt, where it has a place for them",
    )


def pair_key(recipe: str | None) -> Column:
    """Key of the pair that one persona of a passage gives under a generate recipe."""
    parts = ["passage_key", "domain", "persona", "interest", "ordinal"]
    return F.sha2(F.concat_ws("\x1f", F.lit(recipe or ""), *[F.col(p).cast("string") for p in parts]), 256)


def recipe_body(
    settings: GenerateSettings,
    prompt: Prompt,
    identity: dict[str, Any],
    domains: list[Domain],
    demonstrations: dict[str, list[Demonstration]],
) -> dict[str, Any]:
    """Everything that a pair depends on.

    Raises:
        ConfigError: the prompt's schema lacks a field that the strategy reads.
    """
    if settings.strategy == "question_first":
        fields = {"question", "answer", "answer_type", "quotation"}
        require_reply_fields(prompt, settings.prompt, fields)
    elif prompt.response_schema is not None:
        require_reply_fields(prompt, settings.prompt, {"question"})
    body = asking_body(settings, prompt, identity) | {
        "stage": "generate",
        "version": VERSION,
        "strategy": settings.strategy,
        "context": settings.context,
        "domain_names": {domain["id"]: domain["name"] for domain in domain_data(domains)},
    }
    if "demonstrations" in prompt.placeholders():
        body["demonstrations"] = {
            domain: render_demonstrations(examples[: settings.demonstrations])
            for domain, examples in demonstrations.items()
        }
    return body


def prepare(personas: DataFrame, body: dict[str, Any]) -> DataFrame:
    """The (passage, persona) rows with the span that each is asked about.

    Args:
        personas: pair_key, passage_key, document_key, title, text, domain, persona, interest, ordinal.

    Returns:
        The same with `span`: struct<answer, answer_type, kind, sentence, context, opening>; null for
        the strategy question_first, and where the passage has no span left for the persona.
    """
    if body["strategy"] == "question_first":
        return personas.withColumn("span", F.lit(None).cast(_SPAN))
    kinds: dict[str, Any] | None = body["prompt"].get("kinds")
    with_support = body["context"] == "support"

    def spans(texts: pd.Series, titles: pd.Series, ordinals: pd.Series) -> pd.DataFrame:
        rows: list[tuple[str | None, ...]] = []
        count = int(max(ordinals, default=-1)) + 1
        known: dict[tuple[str, str], list[Span]] = {}  # A passage has a row for each of its personas.
        for text, title, ordinal in zip(texts, titles, ordinals, strict=True):
            passage = text or ""
            key = (passage, title or "")
            if key not in known:
                known[key] = chosen_spans(*key, kinds, count=count)
            found = known[key]
            if ordinal >= len(found):
                rows.append((None,) * len(_SPAN_FIELDS))
                continue
            span = found[int(ordinal)]
            opening = kinds[span.kind]["opening"].replace("{unit}", span.unit) if kinds else None
            rows.append(
                (
                    span.text,
                    span.answer_type,
                    span.kind,
                    span.sentence,
                    supporting_context(span.sentence, passage) if with_support else context_of(span, passage),
                    opening,
                )
            )
        return pd.DataFrame(rows, columns=list(_SPAN_FIELDS), dtype=object)

    chosen = pandas_udf(spans, _SPAN)  # type: ignore[call-overload]
    with_span = personas.withColumn("span", chosen("text", "title", "ordinal"))
    return with_span.withColumn("span", F.when(F.col("span.answer").isNotNull(), F.col("span")))


def without_span(prepared: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Rows of `pairs` for the personas that no span is left for (answer_first): ``no_answer_span``."""
    none = prepared.where(F.col("span").isNull() & F.lit(body["strategy"] == "answer_first"))
    nothing = F.lit(None).cast("string")
    return _shaped(
        none.withColumn("completion", F.lit(None).cast("struct<mean_logprob: double, min_logprob: double>"))
        .withColumn("request_id", nothing)
        .withColumn("_value", F.lit(None).cast(f"struct<{_typed(_REPLY)}>")),
        body,
        F.array(F.lit("no_answer_span")),
    )


def reply_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    """The response schema of the prompt; None for free text."""
    return body["prompt"].get("response_schema")


def persona_request(body: dict[str, Any]) -> Column:
    """The request of a row of `prepare`."""
    names = F.create_map(*[F.lit(piece) for item in body["domain_names"].items() for piece in item])
    values = {
        "domain": F.coalesce(F.element_at(names, F.col("domain")), F.col("domain")),
        "title": F.col("title"),
        "passage": F.col("text"),
        "persona": F.col("persona"),
        "interest": F.col("interest"),
        "answer": F.col("span.answer"),
        "answer_type": F.col("span.answer_type"),
        "quotation": F.col("span.sentence"),
        "context": F.col("span.context"),
        "opening": F.col("span.opening"),
    }
    if body["prompt"].get("kinds"):
        shown = [
            F.lit(piece)
            for kind, part in body["prompt"]["kinds"].items()
            for piece in (kind, part["examples"])
        ]
        values["examples"] = F.element_at(F.create_map(*shown), F.col("span.kind"))
    if "demonstrations" in body:
        examples = F.create_map(*[F.lit(piece) for item in body["demonstrations"].items() for piece in item])
        values["demonstrations"] = F.element_at(examples, F.col("domain"))
    return request(body, values, schema=reply_schema(body))


def prefix(body: dict[str, Any]) -> Column:
    """What requests share at their start: examples of a kind or of a domain, then the passage."""
    first = "span.kind" if body["prompt"].get("kinds") else "domain"
    return F.concat_ws("/", first, "passage_key")


def finish(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Rows of `prepare` with their completion as rows of `pairs` (less recipe and run).

    Reasons: the engine's or the reply's fault, ``question_empty``, ``answer_empty``.
    """
    schema = reply_schema(body)
    read = completed.withColumn("_reply", reply_column(schema, F.col("text")))
    if schema is None:
        # Free text: the question is the reply's first line, behind the opening that was given.
        line = F.trim(F.concat_ws(" ", "span.opening", F.trim(F.substring_index("_reply.value", "\n", 1))))
        read = read.withColumn(
            "_value",
            F.when(
                F.col("_reply.value").isNotNull(),
                F.struct(
                    line.alias("question"),
                    F.lit(None).cast("string").alias("answer"),
                    F.lit(None).cast("string").alias("answer_type"),
                    F.lit(None).cast("string").alias("quotation"),
                ),
            ),
        )
    else:
        read = read.withColumn("_value", F.from_json("_reply.value", _REPLY))
    answer = F.coalesce("span.answer", "_value.answer")
    reasons = F.when(F.col("_reply.reason").isNotNull(), F.array("_reply.reason")).otherwise(
        F.array_compact(
            F.array(
                F.when(F.coalesce(F.trim(answer), F.lit("")) == "", "answer_empty"),
                F.when(F.coalesce(F.trim("_value.question"), F.lit("")) == "", "question_empty"),
            )
        )
    )
    return _shaped(read, body, reasons)


def _typed(fields: str) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in (f.split() for f in fields.split(", ")))


def _shaped(rows: DataFrame, body: dict[str, Any], reasons: Column) -> DataFrame:
    rows = rows.withColumn("_reasons", reasons)
    return rows.select(
        "pair_key",
        "passage_key",
        "document_key",
        "domain",
        "persona",
        "interest",
        "ordinal",
        F.lit(body["strategy"]).alias("strategy"),
        F.trim("_value.question").alias("question"),
        F.trim(F.coalesce("span.answer", "_value.answer")).alias("answer"),
        F.coalesce("span.answer_type", "_value.answer_type").alias("answer_type"),
        F.trim(F.coalesce("span.sentence", "_value.quotation")).alias("quotation"),
        F.col("completion.mean_logprob").alias("mean_logprob"),
        F.col("completion.min_logprob").alias("min_logprob"),
        "request_id",
        F.when(F.size("_reasons") == 0, "kept").otherwise("rejected").alias("status"),
        F.col("_reasons").alias("reasons"),
    )


PAIRS = stage_table(
    "pairs",
    "generate: one row per passage and persona: the pair, or why there is none",
    "pair_key",
    ("passage_key", STRING, "the passage"),
    ("document_key", STRING, "the document"),
    ("domain", STRING, "domain of the passage"),
    ("persona", STRING, "persona that the question is for"),
    ("interest", STRING, "what that persona wants to know"),
    ("ordinal", INT, "number of the persona within the passage, from 0"),
    ("strategy", STRING, "question_first or answer_first"),
    ("question", STRING, "the question"),
    ("answer", STRING, "the answer"),
    ("answer_type", STRING, "number, date, name, span, formula, list, multiple_choice, yes_no"),
    ("quotation", STRING, "sentence of the passage that supports the answer"),
    ("mean_logprob", DOUBLE, "mean token log-probability of the reply"),
    ("min_logprob", DOUBLE, "lowest token log-probability of the reply"),
    ("request_id", STRING, "the completion that was parsed"),
)


class GenerateStage(ModelStage[GenerateSettings]):
    """The stage generate: its input rows are the personas of the passages, each with the key of its pair."""

    name = "generate"
    version = VERSION
    after = "identify"
    summary = "write one pair for each persona"
    subject = Subject.PAIR
    table = PAIRS
    settings = GenerateSettings
    lessons = "accepted"

    def recipe(self, parts: Parts) -> Body:
        """`recipe_body`."""
        settings = self.section(parts.sections)
        return recipe_body(settings, *parts.asked(settings), parts.domains, parts.demonstrations)

    def input_keys(self, flow: Flow, given: DataFrame) -> DataFrame:
        """One row a (passage, persona), with domain, persona, interest, ordinal, and the key of the pair."""
        personas = kept(flow.of_recipe(IDENTIFY.name)).select(
            "passage_key", "domain", F.posexplode("personas").alias("ordinal", "_persona")
        )
        return (
            given.join(personas, "passage_key")
            .select(
                "passage_key",
                "document_key",
                "domain",
                F.col("_persona.name").alias("persona"),
                F.col("_persona.interest").alias("interest"),
                "ordinal",
            )
            .withColumn("pair_key", pair_key(flow.recipes.get(self.name)))
        )

    def inputs(self, flow: Flow, keys: DataFrame) -> DataFrame:
        """The personas with their passages."""
        texts = flow.made(Subject.PASSAGE).select("passage_key", "title", "text")
        return keys.join(texts, "passage_key")

    def bound(self, context: Context, more: int) -> int:
        """As many personas as a passage can get."""
        return (
            more * personas_limit(context.bodies[IDENTIFY.name]) if IDENTIFY.name in context.bodies else more
        )

    def prepare(self, rows: DataFrame, body: Body) -> DataFrame:
        """`prepare`."""
        return prepare(rows, body)

    def split(self, prepared: DataFrame, body: Body) -> tuple[DataFrame, DataFrame | None]:
        """Where the answer comes first, a persona that no span is left for is not asked about."""
        if body["strategy"] != "answer_first":
            return prepared, None
        return prepared.where(F.col("span").isNotNull()), without_span(prepared, body)

    def request(self, body: Body) -> Column:
        """`persona_request`."""
        return persona_request(body)

    def prefix(self, body: Body) -> Column:
        """`prefix`."""
        return prefix(body)

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """`finish`."""
        return finish(completed, body)

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """Persona and pair."""
        persona = f"{row['persona']} ({row['domain']}): {row['interest']}"
        names = ("question", "answer", "answer_type", "quotation")
        lines = [("persona", persona), ("strategy", row["strategy"])]
        return lines + [(name.replace("_", " "), row[name]) for name in names]


STAGE = GenerateStage()
