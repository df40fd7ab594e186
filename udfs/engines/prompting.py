"""Prompts in, replies out, row by row: what the SQL function `complete` runs in a Python worker.

Batches of a column come in and replies have to leave in their order, but requests go to the engine across
batches, so that it never drains at the end of one.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from udfs.engines.base import Message, Request, Sampling
from udfs.engines.completion import Completion, clean, ddl
from udfs.engines.errors import RequestError
from udfs.engines.schemas import in_asked_order
from udfs.engines.worker import answer

_FIELDS = ("text", "error", "finish_reason", "prompt_tokens", "cached_tokens", "completion_tokens")
REPLY_DDL = ddl(_FIELDS)


def prompt_function(
    spec: Mapping[str, Any], sampling: Mapping[str, Any], adapter: str | None = None
) -> Callable[[Iterator[pd.Series]], Iterator[pd.DataFrame]]:
    """The function of an iterator-of-series `pandas_udf` with the type `REPLY_DDL`.

    Its columns are prompt (string) and, optionally, a JSON schema (string; null for free text). A row that
    cannot be answered has an error, short name first, and no text.

    Args:
        spec: as in `udfs.engines.worker.engine_function`.
        sampling: fields of `udfs.engines.base.Sampling`.
        adapter: the adapter that the engine's identity names: it refuses requests for another one.
    """
    spec_json = json.dumps(dict(spec), sort_keys=True)
    drawn = Sampling(**dict(sampling))

    def complete(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        return _complete(spec_json, drawn, adapter, batches)

    return complete


def _complete(
    spec_json: str,
    sampling: Sampling,
    adapter: str | None,
    batches: Iterator[pd.Series | tuple[pd.Series, ...]],
) -> Iterator[pd.DataFrame]:
    sizes: deque[int] = deque()
    done: dict[int, Completion] = {}
    number, rows = 0, list[Completion]()

    def requests() -> Iterator[Request]:
        given = 0
        for batch in batches:
            prompts, *schemas = batch if isinstance(batch, tuple) else (batch,)
            sizes.append(len(prompts))
            for prompt, schema in zip(prompts, schemas[0] if schemas else [None] * len(prompts), strict=True):
                try:
                    yield _request(str(given), prompt, schema, sampling, adapter)
                except RequestError as error:
                    done[given] = Completion.failed(str(given), "permanent", str(error))
                given += 1

    def ready() -> Iterator[pd.DataFrame]:
        nonlocal number, rows
        while sizes:
            while len(rows) < sizes[0] and number in done:
                rows.append(done.pop(number))
                number += 1
            if len(rows) < sizes[0]:
                return
            sizes.popleft()
            yield pd.DataFrame({name: [getattr(row, name) for row in rows] for name in _FIELDS})
            rows = []

    for completion in answer(spec_json, requests()):
        done[int(completion.request_id)] = completion
        yield from ready()
    yield from ready()


def _request(number: str, prompt: Any, schema: Any, sampling: Sampling, adapter: str | None) -> Request:
    """The request of one row.

    Raises:
        RequestError: there is no prompt, or the schema is none.
    """
    wanted = None
    if schema is not None:
        try:
            wanted = in_asked_order(json.loads(schema))
        except ValueError as error:
            raise RequestError("refused_schema", f"no JSON: {error}") from error
        if not isinstance(wanted, dict):
            raise RequestError("refused_schema", "a schema is a JSON object")
    request = Request(
        number, (Message("user", clean(prompt or "")),), "chat", sampling, wanted, adapter=adapter
    )
    request.check()
    return request
