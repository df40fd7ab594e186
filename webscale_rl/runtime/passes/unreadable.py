"""Stops a pass whose replies cannot be read: such a prompt or model would only cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

from webscale_rl.errors import UnparsableRepliesError
from webscale_rl.llm.read_reply import PARSE_REASONS

MAX_UNREADABLE_SHARE = 0.5


class Readable:
    """How many replies to each prompt of a pass there were, and how many of them could not be read.

    Args:
        stage: the pass's name.
        gates: where several gates ask together, each by a prompt of its own: their names.
    """

    def __init__(self, stage: str, gates: Sequence[str]) -> None:
        self._stage, self._has_gates = stage, bool(gates)
        self._counts = dict.fromkeys(gates or (stage,), (0, 0))

    def columns(self) -> list[Column]:
        """Aggregates over a stage's rows: reasons array<string>, and gate string where there are gates."""
        unreadable = F.arrays_overlap(F.col("reasons"), F.lit(list(PARSE_REASONS)))
        found: list[Column] = []
        for number, name in enumerate(self._counts):
            its = F.col("gate") == name if self._has_gates else F.lit(True)
            found.append(F.count_if(its).alias(f"replies_{number}"))
            found.append(F.count_if(its & unreadable).alias(f"unreadable_{number}"))
        return found

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what `columns` gave."""
        for number, (name, (replies, unreadable)) in enumerate(self._counts.items()):
            self._counts[name] = (
                replies + counts[f"replies_{number}"],
                unreadable + counts[f"unreadable_{number}"],
            )

    def require(self, minimum: int) -> None:
        """See that replies can be read.

        Args:
            minimum: replies to be sure by; of several prompts each counts for its part.

        Raises:
            UnparsableRepliesError: more than half of the replies to a prompt could not be read.
        """
        for name, (replies, unreadable) in self._counts.items():
            if replies < minimum // len(self._counts) or unreadable <= MAX_UNREADABLE_SHARE * replies:
                continue
            of, rows = "", f"completions WHERE stage = '{name}'"
            if self._has_gates:
                of = f" for {name}"
                rows = f"completions JOIN gate_verdicts USING (request_id) WHERE gate = '{name}'"
            query = f"SELECT text FROM {rows} LIMIT 5"
            raise UnparsableRepliesError(
                f"{self._stage}: {unreadable} of the first {replies} replies{of} could not be read: look at "
                f'them with webscale-rl sql "{query}", then mend the prompt or choose another model'
            )
