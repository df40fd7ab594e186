"""What a run may spend on models, and what it has spent."""

from __future__ import annotations

from dataclasses import dataclass

from webscale_rl.llm.engines import Engine


@dataclass
class Budget:
    """Limits of one run, and its spending so far.

    Attributes:
        max_requests: requests that may go to a model; None for no limit.
        max_tokens: prompt and completion tokens; None for no limit.
        max_cost: in the currency of the engines' prices; None for no limit.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    requests: int = 0
    tokens: int = 0
    cost: float = 0.0

    def allowance(
        self, requests: int, tokens: float, engine: Engine, flying: int = 0, flying_tokens: float = 0.0
    ) -> int:
        """How many of some requests may still be sent, given their estimated tokens together.

        Args:
            flying: requests of this engine whose spending is not known yet.
            flying_tokens: their estimated tokens.
        """
        allowed = requests
        if self.max_requests is not None:
            allowed = min(allowed, self.max_requests - self.requests - flying)
        if self.max_tokens is not None and tokens > 0:
            left = self.max_tokens - self.tokens - flying_tokens
            allowed = min(allowed, int(requests * left / tokens) if left < tokens else requests)
        if self.max_cost is not None:
            # The whole estimate at the dearer of the two prices: an upper bound.
            prices = engine.settings.prices
            dearest = max(prices.prompt, prices.completion) / 1e6 if prices else 0.0
            price = dearest * tokens
            left_cost = self.max_cost - self.cost - dearest * flying_tokens
            if price > left_cost:
                allowed = min(allowed, int(requests * left_cost / price))
        return max(0, allowed)

    def spend(self, requests: int, prompt: int, cached: int, completion: int, engine: Engine) -> None:
        """Count what a chunk has cost."""
        self.requests += requests
        self.tokens += prompt + completion
        self.cost += engine.cost(prompt, cached, completion) or 0.0

    def describe(self) -> str:
        """The limits in words, for the message of a run that stopped at one."""
        limits = {
            "--max-requests": self.max_requests,
            "--max-tokens": self.max_tokens,
            "--max-cost": self.max_cost,
        }
        return ", ".join(f"{name} {value}" for name, value in limits.items() if value is not None)
