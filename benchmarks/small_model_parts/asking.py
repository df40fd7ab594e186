"""Asks the small model through the engines themselves, without Spark: prompts of conf/ in, replies out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from udfs.engines.base import Completion, Engine, Message, Request, Sampling
from udfs.engines.worker import engine_class
from webscale_rl.core.files import find_file
from webscale_rl.llm.prompts import load_prompt
from webscale_rl.llm.template import render

_PIECE = 12


# The engine of a worker process.
_engine: Engine | None = None


def _start(spec: Mapping[str, Any]) -> None:
    global _engine
    _engine = engine_class(spec["engine"])(dict(spec["options"]))


def _answer(requests: list[Request]) -> list[Completion]:
    assert _engine is not None
    return list(_engine.complete(requests))


@dataclass
class Asker:
    """Running engines, each in a process of its own, as Spark's workers are, and what was asked of them.

    Attributes:
        spec: engine and options, as `udfs.engines.worker.engine_function` has them.
        processes: engines side by side.
    """

    spec: Mapping[str, Any]
    processes: int = 2
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    _prompts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = engine_class(self.spec["engine"])
        self.adapter = made.identity(dict(self.spec["options"])).get("adapter")
        # Spark's workers have it, and without it a second thread takes the first one's core.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._pool = ProcessPoolExecutor(
            self.processes, get_context("spawn"), initializer=_start, initargs=(self.spec,)
        )

    def ask(
        self, task: str, values: Iterable[Mapping[str, str]], choices: tuple[str, ...] | None = None
    ) -> list[Completion]:
        """One completion for each set of placeholder values, in their order."""
        if task not in self._prompts:
            self._prompts[task] = load_prompt(find_file(f"tuned_{task}", "prompts", ".yml"))
        prompt = self._prompts[task]
        sampling = Sampling(max_tokens=prompt.max_tokens, stop=tuple(prompt.stop))
        requests = [
            Request(
                request_id=str(number),
                messages=(Message("user", render(prompt.user, one)),),
                prompt_format="raw",
                sampling=sampling,
                choices=None if choices is None else tuple(f" {choice}" for choice in choices),
                adapter=self.adapter,
            )
            for number, one in enumerate(values)
        ]
        started = time.perf_counter()
        # Neighbours share their passage, so pieces are contiguous; short ones share the work out.
        pieces = [requests[at : at + _PIECE] for at in range(0, len(requests), _PIECE)]
        found = {
            completion.request_id: completion
            for piece in self._pool.map(_answer, pieces)
            for completion in piece
        }
        self.seconds += time.perf_counter() - started
        self.requests += len(requests)
        self.tokens += sum(c.prompt_tokens - c.cached_tokens + c.completion_tokens for c in found.values())
        return [found[request.request_id] for request in requests]

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


def text_of(completion: Completion) -> str:
    """The reply's first line; empty where there is none."""
    return (completion.text or "").split("\n")[0].strip()
