"""What a run did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunResult:
    """What a run did.

    Attributes:
        outcome: done, or stopped (at a limit).
        message: why it stopped; empty when done.
        pairs: accepted pairs as they stand; None when the product was not reached.
    """

    run: int
    outcome: str
    message: str
    requests: int
    tokens: int
    cost: float
    pairs: int | None
