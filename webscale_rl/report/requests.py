"""Requests rendered again from the recipes, with the functions that built them in the first place.

The table `completions` keeps no prompts: a recipe's body and the row's subject give them back. The
sha256 of what is rendered shows whether it is what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import sha256_text
from webscale_rl.errors import WebscaleRLError
from webscale_rl.spark.errors import first_line
from webscale_rl.stages.registry import asker

# What requests are made from, under the names that the stages use.
_COLUMNS = (
    "pair_key string, passage_key string, document_key string, title string, text string, "
    "passage string, domain string, persona string, interest string, ordinal int, "
    "question string, answer string, answer_type string, quotation string"
)


@dataclass(frozen=True)
class Asked:
    """A row that a model was asked for.

    Attributes:
        body: the recipe's body.
        subject: the row's subject: what of `_COLUMNS` the request is made from.
    """

    body: Mapping[str, Any]
    subject: Mapping[str, Any]


@dataclass(frozen=True)
class Rendered:
    """A request as it is built today, or why it cannot be.

    Attributes:
        request: the logical request; None where it cannot be built.
        request_id: its key; None likewise.
        problem: why not; empty otherwise.
    """

    request: dict[str, Any] | None
    request_id: str | None
    problem: str = ""


def render(spark: SparkSession, asked: Sequence[Asked]) -> list[Rendered]:
    """The requests of some rows, in one Spark job."""
    found: dict[int, Rendered] = {}
    frames: list[DataFrame] = []
    for number, one in enumerate(asked):
        try:
            frames.append(_request(spark, one).withColumn("_number", F.lit(number)))
        except (WebscaleRLError, ValidationError, LookupError, TypeError, ValueError) as error:
            # A recipe of another version of the package may lack what this one reads.
            found[number] = _unknown(error)
    if frames:
        union = frames[0]
        for frame in frames[1:]:
            union = union.unionByName(frame)
        try:
            for row in union.collect():
                text = row["request"]
                found[row["_number"]] = Rendered(json.loads(text), sha256_text(text))
        except PySparkException as error:
            found |= {n: _unknown(error) for n in range(len(asked)) if n not in found}
    return [found.get(n, Rendered(None, None, "it has no request")) for n in range(len(asked))]


def _unknown(error: Exception) -> Rendered:
    return Rendered(None, None, f"the recipe is of another version ({first_line(error)})")


def _request(spark: SparkSession, asked: Asked) -> DataFrame:
    body = dict(asked.body)
    names = [column.split()[0] for column in _COLUMNS.split(", ")]
    values = tuple(asked.subject.get(name) for name in names)
    rows = spark.createDataFrame([values], _COLUMNS)
    asks = asker(body["stage"])
    prepared = asks.prepare(rows, body)
    return prepared.select(asks.request(body).alias("request")).where(F.col("request").isNotNull())
