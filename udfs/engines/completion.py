"""A completion, described once: DDL, Arrow schema, the table `completions` and what stages read follow.

What goes wrong with one request is data in its row (`fault`, `error`), never an exception: an exception
ends the Python worker and the engine in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, NamedTuple, get_type_hints

import pyarrow as pa

# permanent: the request's own; transient: it may go by; engine: whatever is asked meets it, until
# the key, the account or the model is mended. Only the first is an outcome: rows of the others stay pending.
Fault = Literal["permanent", "transient", "engine"]

#: What faults were called, in engines and in warehouses of schema version 3.
FORMER_FAULTS: dict[str, Fault] = {"lasting": "permanent", "passing": "transient"}


class Column(NamedTuple):
    """What a field of `Completion` is in a table.

    Attributes:
        sql: its Spark SQL type.
        meaning: for the documentation of the tables.
        in_reply: whether stages see it, in their column `completion`.
    """

    sql: str
    meaning: str
    in_reply: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """One outcome. Log-probabilities are natural logarithms, of the model before any sampling."""

    request_id: Annotated[
        str, Column("string", "sha256 of the canonical JSON of the whole logical request", in_reply=False)
    ]
    text: Annotated[str | None, Column("string", "raw reply")] = None
    finish_reason: Annotated[
        Literal["stop", "length", "error"], Column("string", "stop, length or error")
    ] = "stop"
    fault: Annotated[
        Fault | None,
        Column("string", "permanent for a request that can never be answered; else null", in_reply=False),
    ] = None
    error: Annotated[str | None, Column("string", "what went wrong, short name first")] = None
    prompt_tokens: Annotated[int, Column("int", "tokens of the prompt")] = 0
    cached_tokens: Annotated[int, Column("int", "of these, tokens found in the engine's cache")] = 0
    completion_tokens: Annotated[int, Column("int", "tokens of the reply")] = 0
    mean_logprob: Annotated[float | None, Column("double", "mean token log-probability of the reply")] = None
    min_logprob: Annotated[float | None, Column("double", "lowest token log-probability of the reply")] = None
    choice_logprobs: Annotated[
        Sequence[float] | None,
        Column("array<double>", "per choice of the request: its log-probability"),
    ] = None
    seconds: Annotated[
        float, Column("double", "wall time of the request within the engine", in_reply=False)
    ] = 0.0
    load_seconds: Annotated[
        float | None,
        Column(
            "double",
            "in the first completion of a task: how long its engine took to load, 0 if it was up; else null",
            in_reply=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Engines may still use a fault's former name."""
        now = FORMER_FAULTS.get(self.fault or "")
        if now is not None:
            object.__setattr__(self, "fault", now)

    @classmethod
    def failed(cls, request_id: str, fault: Fault, error: str, seconds: float = 0.0) -> Completion:
        """A row that says what went wrong; `error` is 'short_name: message'."""
        return cls(
            request_id,
            finish_reason="error",
            fault=fault,
            error=clean(" ".join(error.split()))[:500],
            seconds=seconds,
        )


class Field(NamedTuple):
    """A field of a completion as a column of tables: name, Spark SQL type, Arrow type, meaning."""

    name: str
    sql: str
    arrow: pa.DataType
    meaning: str
    in_reply: bool


_ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "double": pa.float64(),
    "array<double>": pa.list_(pa.float64()),
}


def _fields() -> tuple[Field, ...]:
    hints = get_type_hints(Completion, include_extras=True)
    columns: dict[str, Column] = {name: hint.__metadata__[0] for name, hint in hints.items()}
    return tuple(Field(name, c.sql, _ARROW[c.sql], c.meaning, c.in_reply) for name, c in columns.items())


FIELDS = _fields()
"""Every field of a completion, in order; the first one is its key."""

REPLY_FIELDS = tuple(field.name for field in FIELDS if field.in_reply)
"""What stages see of a completion, in the column `completion`."""


def ddl(names: Iterable[str]) -> str:
    """Fields of a completion as a Spark schema, in the order given."""
    types = {field.name: field.sql for field in FIELDS}
    return ", ".join(f"{name} {types[name]}" for name in names)


COMPLETION_SCHEMA = pa.schema([(field.name, field.arrow) for field in FIELDS])

# The same as a Spark schema, for `mapInArrow(function, COMPLETION_DDL)`.
COMPLETION_DDL = ddl(field.name for field in FIELDS)


def completions_batch(completions: Sequence[Completion]) -> pa.RecordBatch:
    """Completions as one Arrow batch of COMPLETION_SCHEMA."""
    return pa.RecordBatch.from_pylist([asdict(item) for item in completions], schema=COMPLETION_SCHEMA)


_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes (U+FFFD stands in their place)."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
