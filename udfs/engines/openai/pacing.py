"""How many requests an endpoint is sent at a time: fewer when it says that it is too many.

Additive increase, multiplicative decrease (Jacobson and Karels, *Congestion Avoidance and Control*, 1988), as
TCP finds out what a network bears.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Mapping

LONGEST_PAUSE = 60.0


class Pace:
    """The number of requests in flight, and the pause that a server has asked for.

    Args:
        maximum: requests in flight, also at the beginning.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._limit = float(maximum)
        self._pause_until = 0.0
        self._halved_at = 0.0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return max(1, int(self._limit))

    def succeeded(self) -> None:
        """A reply came: after as many as are in flight, one more is tried."""
        self._limit = min(float(self._maximum), self._limit + 1.0 / self._limit)

    def throttled(self, pause: float) -> None:
        """The server had too much to do: half as many, and none for a number of seconds."""
        now = time.monotonic()
        self._pause_until = max(self._pause_until, now + pause)
        # What was sent together is refused together: that is one sign, not many.
        if now >= self._halved_at + pause:
            self._limit = max(1.0, self._limit / 2)
            self._halved_at = now

    async def ready(self) -> None:
        """Wait until no pause is in force."""
        while (rest := self._pause_until - time.monotonic()) > 0:
            await asyncio.sleep(rest)


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: doubled each time, with jitter so that many do not come together."""
    return float(min(LONGEST_PAUSE, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25))  # noqa: S311


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a reply's headers ask to wait (RFC 9110, section 10.2.3); None where they do not say."""
    milliseconds = headers.get("retry-after-ms")
    value = headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        if value is not None:
            return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value or "").timestamp() - time.time())
    except (TypeError, ValueError):
        return None
