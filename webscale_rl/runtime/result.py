"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunResult:
    """What a run did.

    Attributes:
        run: number (epoch) of the run.
        outcome: done, or stopped (at a limit).
        message: why it stopped; empty when done.
        requests, tokens, cost: what it spent on models; tokens of prompts and replies.
        pairs: accepted pairs now in qa_pairs; None if the run did not include the last stage.
    """

    run: int
    outcome: str
    message: str
    requests: int
    tokens: int
    cost: float
    pairs: int | None
