"""Gates that ask no model and look at more than one pair, or at columns that rules do not see."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pyspark.sql import DataFrame

from webscale_rl.stages.check.gates.base import Gate


class FrameGate(Gate):
    """A gate that a transformation of the pairs decides.

    Attributes:
        compares: whether a pair is compared with the others of its passage, so that it has to wait until all
        of
            them are there and have passed the gates before.
    """

    compares: ClassVar[bool] = False

    def body(self, settings: Any) -> dict[str, Any]:
        """What its verdicts depend on, of the settings of the check: those of a section of its own."""
        return {"settings": self.own_settings(settings).model_dump(mode="json")} if self.section else {}

    @abstractmethod
    def apply(self, pairs: DataFrame, settings: Any) -> DataFrame:
        """The verdicts on pairs (columns of the table pairs, with passage and title).

        Returns:
            pair_key, gate, passed, reason, detail string, score double.
        """
