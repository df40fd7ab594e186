"""What one pass of a model is: whom it asks, how requests are built, and what becomes of the replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame

from webscale_rl.llm.engines import Engine


@dataclass(frozen=True)
class Pass:
    """One pass of a model over rows.

    Attributes:
        stage: name of the stage or gate, for `completions` and `attempts`.
        engine: the engine to ask.
        request: builds the canonical JSON of each row's request from the row's columns.
        prefix: what rows share at the start of their prompts; requests are sorted by it.
        max_tokens: longest reply.
        finish: rows with the column `completion` in, the stage's rows out.
        write: appends the stage's rows.
        gates: where several gates ask together: the values of the column `gate` of the rows.
    """

    stage: str
    engine: Engine
    request: Callable[[], Column]
    prefix: Column
    max_tokens: int
    finish: Callable[[DataFrame], DataFrame]
    write: Callable[[DataFrame], None]
    gates: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a pass did."""

    rows: int = 0
    kept: int = 0
    requests: int = 0
    tokens: int = 0
    failed: int = 0
