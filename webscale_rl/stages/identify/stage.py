"""identify: a passage's domain, and personas with why each would ask something of it.

The paper (section 3.2) has a language model name one domain and up to three personas. With a
capable model that is part of the request that screen made already; a very small model gives the
domain by log-probability, and the personas are the domain's typical ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.stage import Body, Subject
from webscale_rl.core.table import (
    PERSONAS,
    SCORES,
    STRING,
    stage_table,
)
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.prompts import Domain, Prompt
from webscale_rl.llm.replies import reply_column
from webscale_rl.runtime.model_stage import ModelStage
from webscale_rl.stages.screen.stage import SharedAskingSettings, reply_schema, shared_body, shared_request
from webscale_rl.stages.screen.topic import domain_scores
from webscale_rl.text.layout import number

VERSION = 3

_REPLY = "domain string, personas array<struct<name: string, interest: string>>"


class IdentifySettings(SharedAskingSettings):
    """Whom and what a passage is for."""

    max_personas: int = Field(ge=1, le=10, description="maximum of personas per passage, one question each")


def recipe_body(
    settings: IdentifySettings, prompt: Prompt, identity: dict[str, Any], domains: list[Domain]
) -> dict[str, Any]:
    """Everything that domain and personas depend on."""
    return shared_body(settings, prompt, identity, domains) | {
        "stage": "identify",
        "version": VERSION,
        "max_personas": settings.max_personas,
    }


def personas_limit(body: dict[str, Any]) -> int:
    """Maximum of personas of a passage: the setting, or fewer if the schema or the domains name fewer."""
    schema = reply_schema(body)
    if schema is None:
        limit = max(len(domain["readers"]) for domain in body["domains"])
    else:
        limit = schema.get("properties", {}).get("personas", {}).get("maxItems", body["max_personas"])
    return min(body["max_personas"], limit)


def finish(completed: DataFrame, body: dict[str, Any]) -> DataFrame:
    """Passages with their completion as rows of `identified` (less recipe and run).

    Reasons: the engine's or the reply's fault, ``no_persona``.
    """
    if body["method"] != "prompt":
        scored = completed.withColumn("domain_scores", domain_scores(body))
        found = scored.withColumn("domain", _best("domain_scores")).withColumn(
            "_reason",
            F.when(
                F.col("completion.finish_reason") == "error",
                F.substring_index("completion.error", ":", 1),
            ).when(F.col("domain").isNull(), "reply_missing"),
        )
        personas = _typical_personas(body)
    else:
        read = completed.withColumn("_reply", reply_column(reply_schema(body)))
        read = read.withColumn("_value", F.from_json("_reply.value", _REPLY))
        found = read.select(
            "*",
            F.col("_value.domain").alias("domain"),
            F.col("_reply.reason").alias("_reason"),
            F.lit(None).cast("map<string,double>").alias("domain_scores"),
        )
        named = F.filter("_value.personas", lambda persona: F.trim(persona["name"]) != "")
        personas = F.slice(named, 1, body["max_personas"])
    # A row with a fault has no completion to read: its domain and personas stay null.
    faultless = F.col("_reason").isNull()
    found = found.withColumn("personas", F.when(faultless, personas)).withColumn(
        "_reason",
        F.coalesce(
            "_reason",
            F.when(F.col("personas").isNull() | (F.size("personas") == 0), "no_persona"),
        ),
    )
    kept = F.col("_reason").isNull()
    return found.select(
        "passage_key",
        "document_key",
        F.when(faultless, F.col("domain")).alias("domain"),
        F.when(faultless, F.col("domain_scores")).alias("domain_scores"),
        "personas",
        "request_id",
        F.when(kept, "kept").otherwise("rejected").alias("status"),
        F.when(kept, F.array().cast("array<string>")).otherwise(F.array("_reason")).alias("reasons"),
    )


def _best(scores: str) -> Column:
    """Key of a map's highest value, the first in the alphabet among equals; null if none."""
    entries = F.filter(F.map_entries(scores), lambda entry: entry["value"].isNotNull())
    ranked = F.sort_array(
        F.transform(entries, lambda e: F.struct((-e["value"]).alias("loss"), e["key"].alias("key")))
    )
    return F.get(ranked, 0)["key"]


def _typical_personas(body: dict[str, Any]) -> Column:
    """The domain's personas, beginning with another one for each passage, so that all have a turn."""
    by_domain = []
    for domain in body["domains"]:
        personas = F.array(
            *[
                F.struct(F.lit(r["name"]).alias("name"), F.lit(r["interest"]).alias("interest"))
                for r in domain["readers"]
            ]
        )
        by_domain += [F.lit(domain["id"]), personas]
    personas = F.element_at(F.create_map(*by_domain), F.col("domain"))
    turn = F.conv(F.substring("passage_key", 1, 6), 16, 10).cast("int") % F.size(personas)
    rotated = F.concat(F.slice(personas, turn + 1, F.size(personas)), F.slice(personas, F.lit(1), turn))
    return F.slice(rotated, 1, body["max_personas"])


IDENTIFIED = stage_table(
    "identified",
    "identify: a passage's domain and personas",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("domain", STRING, "identifier of the domain (conf/domains.yml)"),
    ("domain_scores", SCORES, "per domain: mean log-probability of its words; null for the method prompt"),
    ("personas", PERSONAS, "personas, each with what they want to know"),
    ("request_id", STRING, "the completion that was parsed"),
)


class IdentifyStage(ModelStage[IdentifySettings]):
    """The stage identify."""

    name = "identify"
    version = VERSION
    after = "screen"
    summary = "find the domain and the personas of the passages"
    subject = Subject.PASSAGE
    table = IDENTIFIED
    settings = IdentifySettings

    def recipe(self, parts: Parts) -> Body:
        """`recipe_body`."""
        settings = self.section(parts.sections)
        return recipe_body(settings, *parts.asked(settings), parts.domains)

    def request(self, body: Body) -> Column:
        """The request of screen."""
        return shared_request(body)

    def reply_schema(self, body: Body) -> dict[str, Any] | None:
        """The schema of screen."""
        return reply_schema(body)

    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """`finish`."""
        return finish(completed, body)

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """Domain, scores and personas."""
        best = sorted((row["domain_scores"] or {}).items(), key=lambda item: -(item[1] or -1e9))
        lines = [("domain", row["domain"]), ("scores", ", ".join(f"{n} {number(v)}" for n, v in best))]
        return lines + [("persona", f"{p['name']}: {p['interest']}") for p in row["personas"] or []]

    def brief(self, row: Mapping[str, Any]) -> str:
        """The domain and the names of the personas."""
        if not row["domain"]:
            return ""
        names = ", ".join(persona["name"] for persona in row["personas"] or [])
        return f"{row['domain']} for {names or 'no persona'}"


STAGE = IdentifyStage()
