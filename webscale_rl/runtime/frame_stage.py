"""A stage without a model: rows in, rows out."""

from __future__ import annotations

from abc import abstractmethod

from pyspark.sql import DataFrame

from webscale_rl.core.stage import SettingsT, Stage
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.passes.write import append_counting
from webscale_rl.runtime.planning import PlannedStage, Planning


class FrameStage(Stage[SettingsT]):
    """A stage that is one function of its input rows."""

    @abstractmethod
    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """Its input rows as rows of its table, less recipe and run."""

    def run(self, context: Context, keys: DataFrame | None = None) -> None:
        """Transform the pending rows and append them."""
        flow = context.flow
        if flow.pending_keys(self.name, keys).isEmpty():
            return
        # Only now can no earlier run add rows any more.
        context.warehouse.claim(self.table.name)
        waiting = flow.computed(flow.pending_keys(self.name, keys))
        total = waiting.count()
        context.progress.begin(self.name, total)
        rows = self.transform(context, flow.inputs(self.name, waiting))
        context.progress.advance(total, append_counting(context, self, rows))
        context.progress.end()

    def waiting(self, planning: Planning) -> DataFrame:
        """The rows that a plan transforms."""
        return planning.flow.pending(self.name)

    def plan(self, context: Context, planning: Planning) -> PlannedStage:
        """The pending rows; what becomes of them is computed for the stages behind."""
        waiting = self.waiting(planning)
        count = waiting.count()
        # The product is not looked at by a plan: what the last stage would say need not be known.
        if count and self is not context.stages.last:
            planning.add(self, self.transform(context, waiting))
        return PlannedStage(self.name, count + planning.more, bound=planning.more > 0)

    def apply(self, context: Context, rows: DataFrame) -> DataFrame:
        """`transform`."""
        return self.transform(context, rows)
