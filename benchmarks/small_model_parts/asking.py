"""Asks the small model through the engines themselves, without Spark: prompts of conf/ in, replies out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from udfs.engines import engine_class
from udfs.engines.base import Completion, Message, Request, Sampling
from webscale_rl.config import find_file
from webscale_rl.llm.catalogue import load_prompt
from webscale_rl.llm.template import render


@dataclass
class Asker:
    """A running engine, and what was asked of it.

    Attributes:
        spec: engine and options, as `udfs.engines.engine_function` has them.
        family: prefix of the prompts' names: tuned, or another set with the same tasks.
    """

    spec: Mapping[str, Any]
    family: str = "tuned"
    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0
    _prompts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made, options = engine_class(self.spec["engine"]), dict(self.spec["options"])
        self.adapter = made.identity(options).get("adapter")
        self.engine = made(options)

    def ask(
        self, task: str, values: Iterable[Mapping[str, str]], choices: tuple[str, ...] | None = None
    ) -> list[Completion]:
        """One completion for each set of placeholder values, in their order."""
        if task not in self._prompts:
            self._prompts[task] = load_prompt(find_file(f"{self.family}_{task}", "prompts", ".yml"))
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
        found = {completion.request_id: completion for completion in self.engine.complete(requests)}
        self.seconds += time.perf_counter() - started
        self.requests += len(requests)
        self.tokens += sum(c.prompt_tokens - c.cached_tokens + c.completion_tokens for c in found.values())
        return [found[request.request_id] for request in requests]


def text_of(completion: Completion) -> str:
    """The reply's first line; empty where there is none."""
    return (completion.text or "").split("\n")[0].strip()
