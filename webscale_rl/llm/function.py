"""The SQL function `complete(prompt[, schema])`: a model for ad-hoc queries over any table."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.pandas.functions import pandas_udf

from udfs.engines.prompting import REPLY_DDL, prompt_function
from webscale_rl.llm.engines import Engine

DEFAULT_MAX_TOKENS = 256


def complete_function(
    engine: Engine, max_tokens: int = DEFAULT_MAX_TOKENS, temperature: float = 0.0, seed: int = 0
) -> Any:
    """The function for DataFrames: `complete(prompt[, schema])`, each a string column.

    It gives a struct (text, error, finish_reason, prompt_tokens, cached_tokens, completion_tokens). With a
    schema, a JSON schema as text, the text is JSON under it. A row that cannot be answered has an error and
    no text; the others go on. Nothing is kept: every action on the result calls the model again, and a
    global ORDER BY over it twice in one action, since Spark samples what it sorts: write it to a table first.

    Args:
        max_tokens: longest reply.
        temperature: 0 takes the likeliest token.
    """
    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    # Not deterministic for the optimiser: else it may evaluate a call twice, in a filter and in a column.
    function = prompt_function(engine.spec, sampling, engine.identity.get("adapter"))
    return pandas_udf(function, REPLY_DDL).asNondeterministic()  # type: ignore[call-overload]


def register_complete(spark: SparkSession, engine: Engine, name: str = "complete", **sampling: Any) -> None:
    """Make `complete(prompt[, schema])` known to a session's SQL.

    Args:
        sampling: as for `complete_function`.
    """
    spark.udf.register(name, complete_function(engine, **sampling))
