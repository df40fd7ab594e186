"""An engine within a Spark worker: Arrow batches of requests in, Arrow batches of completions out.

`engine_function(spec)` gives the function for `DataFrame.mapInArrow`; its engine is made at the
first request, once per Python worker process, and found again by later tasks and jobs of the same
worker.
A spec is ``{"engine": name or "package.module:Class", "options": {...}, "gpus": number}``; without the
last, the engine itself says how many GPUs it needs.
"""

from __future__ import annotations

import importlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from udfs.engines import gpus
from udfs.engines.base import Completion, Engine, Request, completions_batch
from udfs.engines.errors import EngineDied, EngineError, OptionsError, RequestError
from webscale_rl.core.suggest import nearest

ENGINES = {
    "llamacpp": "udfs.engines.llamacpp.engine:LlamaCppEngine",
    "openai": "udfs.engines.openai.engine:OpenAIEngine",
    "vllm": "udfs.engines.vllm.engine:VllmEngine",
}

# Completions leave in batches of this many: small, so that little is held back while others run.
_ROWS = 32

# The engine of this process, with the spec that it was made from. One, because a second model
# beside it would share the memory and the processor.
_kept: tuple[str, Engine] | None = None


def engine_class(name: str) -> type[Engine]:
    """The class of an engine by its short name or by "package.module:Class".

    Raises:
        EngineError: there is no such engine.
    """
    module, _, attribute = ENGINES.get(name, name).partition(":")
    if not attribute:
        known = ", ".join(sorted(ENGINES))
        hint = nearest(name, ENGINES)
        raise OptionsError(f"unknown engine {name!r}{hint}: known are {known}, or package.module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise EngineError(f"engine {name!r} cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise EngineError(f"engine {name!r} is not a subclass of udfs.engines.base.Engine")
    return found


def identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the replies of an engine depend on (engine, model, template, dtype ...), driver side.

    Raises:
        EngineError: the engine, its package or its model is missing, or an option is wrong.
    """
    return engine_class(spec["engine"]).identity(spec.get("options") or {})


BatchFunction = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def engine_function(spec: Mapping[str, Any]) -> BatchFunction:
    """The function for `mapInArrow` (schema: COMPLETION_DDL); input columns request_id, request."""
    return partial(_run, json.dumps(spec, sort_keys=True))


def close_engine() -> None:
    """Close the engine of this process, if there is one."""
    global _kept
    if _kept is not None:
        engine = _kept[1]
        _kept = None
        engine.close()


def _engine(spec_json: str) -> tuple[Engine, float]:
    """The engine, and the seconds that it took to load: 0 if it was up."""
    global _kept
    if _kept is not None and _kept[0] == spec_json:
        return _kept[1], 0.0
    # The earlier model first: there may be no memory for two.
    close_engine()
    spec = json.loads(spec_json)
    made, options = engine_class(spec["engine"]), spec.get("options") or {}
    started = time.perf_counter()
    gpus.take(made.gpus(options) if spec.get("gpus") is None else spec["gpus"])
    _kept = (spec_json, made(options))
    return _kept[1], time.perf_counter() - started


def _run(spec_json: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Complete every request of the batches; an unreadable one becomes a permanent fault."""
    unreadable: list[Completion] = []

    def requests() -> Iterator[Request]:
        for batch in batches:
            ids, texts = batch.column("request_id"), batch.column("request")
            for request_id, text in zip(ids.to_pylist(), texts.to_pylist(), strict=True):
                try:
                    yield Request.parse(request_id, text)
                except RequestError as error:
                    unreadable.append(Completion.failed(request_id, "permanent", str(error)))

    done: list[Completion] = []
    for completion in answer(spec_json, requests()):
        done.append(completion)
        done.extend(unreadable)
        unreadable.clear()
        if len(done) >= _ROWS:
            yield completions_batch(done)
            done = []
    done.extend(unreadable)
    if done:
        yield completions_batch(done)


def answer(spec_json: str, requests: Iterable[Request]) -> Iterator[Completion]:
    """Completions by this process's engine, in any order; an engine that died is made anew by the next task.

    Args:
        spec_json: the engine's spec as JSON.

    Raises:
        EngineDied: it can serve no further request.
    """
    with gpus.in_use():
        try:
            yield from _completions(spec_json, requests)
        except EngineDied:
            close_engine()
            raise


def _completions(spec_json: str, requests: Iterable[Request]) -> Iterator[Completion]:
    """Completions of the kept engine, made at the first request: an empty task loads none."""
    stream = iter(requests)
    first = next(stream, None)
    if first is None:
        return

    def chained() -> Iterator[Request]:
        yield first
        yield from stream

    engine, seconds = _engine(spec_json)
    completions = iter(engine.complete(chained()))
    yield from (replace(one, load_seconds=seconds) for one in itertools.islice(completions, 1))
    yield from completions
