"""Documents over the token budget become passages, at paragraph borders where there are any.

The cutting itself is plain Python (`webscale_rl.stages.segment.cut`); this module gives it the documents,
mints the keys and writes the verdicts.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, model_validator
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.settings import Section
from webscale_rl.core.stage import Subject
from webscale_rl.core.table import (
    INT,
    STRING,
    stage_table,
)
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.frame_stage import FrameStage
from webscale_rl.stages.segment import cut as segmentation

VERSION = 4

_KERNEL_TYPE = "document_key string, ordinal int, title string, text string, start int, end int, tokens int"


class SegmentSettings(Section):
    """The size of a passage, in tokens that are estimated from characters."""

    max_tokens: Annotated[int, Field(ge=2)] = Field(
        description="the longest passage; a document within it is one passage"
    )
    min_tokens: Annotated[int, Field(ge=0)] = Field(
        description="a shorter passage is joined to, or evened out with, its neighbour"
    )
    chars_per_token: Annotated[float, Field(ge=1.0)] = Field(
        description="characters a token; characters of scripts without spaces count as one token each"
    )

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> SegmentSettings:
        if self.min_tokens * 2 > self.max_tokens:
            raise ValueError("min_tokens must be at most half of max_tokens")
        return self


def passage_key(document_key: Column, ordinal: Column, settings: SegmentSettings) -> Column:
    """The key of a passage: sha256 of its document's key, of what shapes passages, and its ordinal.

    The version of this stage is a part of it, since another version may cut elsewhere. The row of a
    document that gave no passage has the ordinal null.
    """
    shape = json.dumps(
        {"stage": "segment", "version": VERSION, **settings.model_dump(mode="json")},
        sort_keys=True,
        separators=(",", ":"),
    )
    position = F.coalesce(ordinal.cast("string"), F.lit("none"))
    return F.sha2(F.concat_ws("\n", document_key, F.lit(shape), position), 256)


def apply(documents: DataFrame, settings: SegmentSettings) -> DataFrame:
    """Cut documents into passages.

    The passages of a document, with nothing but whitespace between them, are its whole text; none is
    over the budget, and all of one document are about equally long.

    Args:
        documents: document_key, title, text.

    Returns:
        One row for each passage: document_key, passage_key, ordinal (from 0), title, text, start and end
        (characters of the document's text, end excluded), tokens (estimated), status 'kept', reasons.
        A document without text gives one rejected row with reason `no_text` and nulls for the rest.
    """
    budget = segmentation.Budget(settings.max_tokens, settings.min_tokens, settings.chars_per_token)
    cut = documents.select("document_key", "title", "text").mapInArrow(
        segmentation.passages_function(budget),  # type: ignore[arg-type]
        _KERNEL_TYPE,
    )
    is_empty = F.col("ordinal").isNull()
    return cut.select(
        "document_key",
        passage_key(F.col("document_key"), F.col("ordinal"), settings).alias("passage_key"),
        "ordinal",
        "title",
        "text",
        "start",
        "end",
        "tokens",
        F.when(is_empty, "rejected").otherwise("kept").alias("status"),
        F.when(is_empty, F.array(F.lit("no_text")))
        .otherwise(F.array().cast("array<string>"))
        .alias("reasons"),
    )


PASSAGES = stage_table(
    "passages",
    "segment: one row a passage, or one row for a document that gave none",
    "passage_key",
    ("document_key", STRING, "the document"),
    ("ordinal", INT, "number within the document, from 0"),
    ("title", STRING, "the document's title, carried along"),
    ("text", STRING, "the passage"),
    ("start", INT, "first character within the document's text"),
    ("end", INT, "end (exclusive) within the document's text"),
    ("tokens", INT, "estimated tokens"),
)


class SegmentStage(FrameStage[SegmentSettings]):
    """The stage segment."""

    name = "segment"
    version = VERSION
    after = "deduplicate"
    summary = "cut long documents into passages"
    subject = Subject.DOCUMENT
    gives = Subject.PASSAGE
    table = PASSAGES
    settings = SegmentSettings

    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """`apply`."""
        return apply(rows, self.section(context.parts.sections))

    def kept_keys(self, flow: Flow) -> DataFrame:
        """The keys of the passages."""
        passages = flow.made(Subject.PASSAGE).select("passage_key", "document_key")
        return passages.join(flow.keys(self.name), "document_key", "left_semi")


STAGE = SegmentStage()
