"""Replies as columns: the value, or the reason why there is none."""

from __future__ import annotations

from typing import Any

import jsonschema
import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from webscale_rl.llm.read_reply import read_reply
from webscale_rl.text.control_tokens import restore


def reply_column(schema: dict[str, Any] | None, passage: Column | None = None) -> Column:
    """struct<value: string, reason: string> of the column `completion`; one of the two is null.

    Args:
        schema: the response schema that the reply must satisfy; None for free text.
        passage: what the reply may quote: its own words are put in place of those that a prompt escapes.
    """

    def read(
        text: pd.Series, finish_reason: pd.Series, error: pd.Series, passages: pd.Series
    ) -> pd.DataFrame:
        validator = None if schema is None else jsonschema.Draft202012Validator(schema)
        rows = []
        for reply, finish, fault, quoted in zip(text, finish_reason, error, passages, strict=True):
            value, reason = read_reply(_or_none(reply), _or_none(finish), _or_none(fault), validator)
            if value is not None and isinstance(quoted, str):
                # Nothing in a token is written otherwise in JSON, so this is right for both forms.
                value = restore(value, quoted)
            rows.append((value, reason))
        return pd.DataFrame(rows, columns=["value", "reason"], dtype=object)

    completion = F.col("completion")
    reader = pandas_udf(read, "value string, reason string")  # type: ignore[call-overload]
    quoted = F.lit(None).cast("string") if passage is None else passage
    return reader(completion["text"], completion["finish_reason"], completion["error"], quoted)


def _or_none(cell: Any) -> str | None:
    return cell if isinstance(cell, str) else None
