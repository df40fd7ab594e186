"""Requests within vLLM; one that makes a choice runs as one prompt a choice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from udfs.engines.base import Completion, Request
from udfs.engines.vllm.prompts import tokens


@dataclass
class Running:
    """A request in the engine, and when it came (`time.perf_counter`)."""

    request: Request
    started: float


@dataclass
class Choosing(Running):
    """A request that makes a choice: each choice is a part, scored behind the prompt."""

    choices: list[str] = field(init=False)
    scores: dict[int, list[float]] = field(default_factory=dict)
    waiting: int = field(init=False)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        self.choices = list(dict.fromkeys(self.request.choices or ()))
        self.waiting = len(self.choices)

    def prompts(self, tokenizer: Any, prompt: str) -> Iterator[list[int]]:
        """The tokens of the prompt with each choice behind it."""
        ids = tokens(tokenizer, prompt, self.request.prompt_format == "chat")
        for part, choice in enumerate(self.choices):
            ending = tokenizer.encode(choice, add_special_tokens=False)
            self.scores[part] = [float("nan")] * len(ending)
            yield ids + ending

    def scored(self, part: int, output: Any) -> Completion | None:
        """The completion, once the last part has ended.

        Args:
            part: number of the choice.
            output: vLLM's output for it, with log-probabilities of the prompt.
        """
        length = len(self.scores[part])
        last = list(zip(output.prompt_token_ids, output.prompt_logprobs, strict=True))[-length:]
        self.scores[part] = [found[token].logprob for token, found in last]
        self.prompt_tokens += len(output.prompt_token_ids or ())
        self.cached_tokens += output.num_cached_tokens or 0
        self.completion_tokens += 1
        self.waiting -= 1
        return None if self.waiting else self._completion()

    def _completion(self) -> Completion:
        means = {choice: sum(self.scores[n]) / len(self.scores[n]) for n, choice in enumerate(self.choices)}
        best = max(self.choices, key=lambda choice: means[choice])
        return Completion(
            self.request.request_id,
            text=best,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            mean_logprob=means[best],
            min_logprob=min(self.scores[self.choices.index(best)]),
            choice_logprobs=[means[choice] for choice in self.request.choices or ()],
            seconds=time.perf_counter() - self.started,
        )
