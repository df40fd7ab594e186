"""What a warehouse asks of whoever holds it, before it writes."""

from __future__ import annotations

from typing import Protocol


class Fence(Protocol):
    """A run's hold on a warehouse.

    Attributes:
        epoch: grows by one with each run that takes the warehouse.
        run_id: random identifier of the run.
    """

    epoch: int
    run_id: str

    def check(self) -> None:
        """See that this run still holds the warehouse.

        Raises:
            OvertakenError: a newer run has taken it.
        """
