"""screen: a language model says whether a passage is informative, self-contained and answerable.

Three methods: `prompt` asks a capable model in one request that identify shares (paper, section 3.1: a
language model filters what rules cannot); `label` has a small tuned model score one word a domain and
"nothing"; `topic` compares how likely a very small model, as it comes, finds words for subjects and words
for junk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body, Subject
from webscale_rl.core.table import (
    BOOL,
    DOUBLE,
    STRING,
    stage_table,
)
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.prompts import Domain, Prompt, render_domains
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import asking_body, domain_data, request, require_reply_fields
from webscale_rl.runtime.model_stage import ModelStage
from webscale_rl.stages.screen.topic import mean_of_words, share_of_nothing, topic_request
from webscale_rl.text.layout import number

VERSION = 3

_REPLY = "informative boolean, self_contained boolean, answerable boolean, reason string"


class SharedAskingSettings(AskingSettings):
    """What the request that screen and identify share is made from; equal settings, one request."""

    method: Literal["label", "topic", "prompt"] = Field(description="how the model is asked")
    junk_words: list[str] = Field(
        min_length=1, description="topic: words that stand for what is not worth asking about"
    )
    max_chars: int = Field(ge=50, description="label, topic: length of the passage's beginning")


class ScreenSettings(SharedAskingSettings):
    """Which passages are worth asking about."""

    max_nothing: float = Field(
        ge=0, le=1, description="label: highest probability of nothing, of the labels together"
    )
    min_margin: float = Field(
        description="topic: minimum difference of the best domain's and the junk words' mean log-probability"
    )


def shared_body(
    settings: SharedAskingSettings,
    prompt: Prompt,
    identity: dict[str, Any],
    domains: list[Domain],
    prompt_name: str = "",
) -> dict[str, Any]:
    """The body's part that makes the request of screen and identify.

    Raises:
        ConfigError: method prompt, and the prompt's schema lacks a field that is read.
    """
    if settings.method == "prompt":
        fields = {"informative", "self_contained", "answerable", "domain", "personas"}
        require_reply_fields(prompt, prompt_name or settings.prompt, fields)
    return asking_body(settings, prompt, identity) | {
        "method": settings.method,
        "domains": domain_data(domains),
        "junk_words": list(settings.junk_words),
        "max_chars": settings.max_chars,
    }


def recipe_body(
    settings: ScreenSettings, prompt: Prompt, identity: dict[str, Any], domains: list[Domain]
) -> dict[str, Any]:
    """Everything that a screen verdict depends on."""
    return shared_body(settings, prompt, identity, domains) | {
        "stage": "screen",
        "version": VERSION,
        "min_margin": settings.min_margin,
        "max_nothing": settings.max_nothing,
    }


def reply_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    """The response schema with the domains filled in; None for the methods that score words."""
    if body["method"] != "prompt":
        return None
    prompt = Prompt.model_validate(body["prompt"])
    return prompt.schema_for([domain["id"] for domain in body["domains"]])


def shared_request(body: dict[str, Any]) -> Column:
    """The request of a passage (columns title, text): the same for screen and identify."""
    if body["method"] != "prompt":
        return topic_request(body)
    domains = [Domain.model_validate(domain) for domain in body["domains"]]
    values = {
        "domains_text": F.lit(render_domains(domains)),
        "title": F.col("title"),
        "passage": F.col("text"),
    }
    return request(body, values, schema=reply_schema(body))


def best_domain_score(body: dict[str, Any]) -> Column:
    """The highest mean log-probability of a domain's words."""
    return F.greatest(*[mean_of_words(body, list(d["words"])) for d in body["domains"]])


def _unless(field: str, reason: str) -> Column:
    """The reason where the reply does not say yes; what it leaves out is no yes."""
    return F.when(~F.coalesce(F.col(f"_value.{field}"), F.lit(False)), reason)


def finish(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Passages with their completion as rows of `screened` (less recipe and run).

    Reasons: the engine's or the reply's fault, ``off_topic`` (junk is likelier than any domain),
    ``not_informative``, ``not_self_contained``, ``not_answerable``.
    """
    if body["method"] != "prompt":
        if body["method"] == "label":
            score, minimum = 1 - share_of_nothing(body), 1 - body["max_nothing"]
        else:
            score = best_domain_score(body) - mean_of_words(body, body["junk_words"])
            minimum = body["min_margin"]
        judged = completed.withColumn("score", score).withColumn(
            "_reasons",
            F.when(
                F.col("completion.finish_reason") == "error",
                F.array(F.substring_index("completion.error", ":", 1)),
            )
            .when(F.col("score").isNull(), F.array(F.lit("reply_missing")))
            .when(F.col("score") < minimum, F.array(F.lit("off_topic")))
            .otherwise(F.array().cast("array<string>")),
        )
        nothing = F.lit(None)
        fields = {
            "informative": nothing.cast("boolean"),
            "self_contained": nothing.cast("boolean"),
            "answerable": nothing.cast("boolean"),
            "comment": nothing.cast("string"),
        }
        return judged.select(
            "passage_key",
            "document_key",
            *[column.alias(name) for name, column in fields.items()],
            "score",
            "request_id",
            F.when(F.size("_reasons") == 0, "kept").otherwise("rejected").alias("status"),
            F.col("_reasons").alias("reasons"),
        )
    read = completed.withColumn("_reply", reply_column(reply_schema(body)))
    value = F.from_json("_reply.value", _REPLY)
    read = read.withColumn("_value", value)
    reasons = F.when(F.col("_reply.reason").isNotNull(), F.array("_reply.reason")).otherwise(
        F.array_compact(
            F.array(
                _unless("answerable", "not_answerable"),
                _unless("informative", "not_informative"),
                _unless("self_contained", "not_self_contained"),
            )
        )
    )
    return read.withColumn("_reasons", reasons).select(
        "passage_key",
        "document_key",
        "_value.informative",
        "_value.self_contained",
        "_value.answerable",
        F.lit(None).cast("double").alias("score"),
        F.col("_value.reason").alias("comment"),
        "request_id",
        F.when(F.size("_reasons") == 0, "kept").otherwise("rejected").alias("status"),
        F.col("_reasons").alias("reasons"),
    )


SCREENED = stage_table(
    "screened",
    "screen: a language model's verdict on whether a passage is worth asking about",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("informative", BOOL, "has facts worth asking about; null where the method does not say"),
    ("self_contained", BOOL, "can be understood alone; null where the method does not say"),
    ("answerable", BOOL, "bears questions with one short answer; null where it does not say"),
    ("score", DOUBLE, "the topic method's score (log-probability); null otherwise"),
    ("comment", STRING, "the model's own reason, where it gives one"),
    ("request_id", STRING, "the completion that was parsed"),
)


class ScreenStage(ModelStage[ScreenSettings]):
    """The stage screen."""

    name = "screen"
    version = VERSION
    after = "segment"
    summary = "have a model say which passages are worth asking about"
    subject = Subject.PASSAGE
    table = SCREENED
    settings = ScreenSettings

    def recipe(self, parts: Parts) -> Body:
        """`recipe_body`."""
        settings = self.section(parts.sections)
        return recipe_body(settings, *parts.asked(settings), parts.domains)

    def request(self, body: Body) -> Column:
        """`shared_request`."""
        return shared_request(body)

    def reply_schema(self, body: Body) -> dict[str, Any] | None:
        """`reply_schema`."""
        return reply_schema(body)

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """`finish`."""
        return finish(completed, body)

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """What the model said."""
        said = {name: row[name] for name in ("informative", "self_contained", "answerable")}
        words = [(name, None if value is None else "yes" if value else "no") for name, value in said.items()]
        score = None if row["score"] is None else number(row["score"])
        return [*words, ("score", score), ("comment", row["comment"])]


STAGE = ScreenStage()
