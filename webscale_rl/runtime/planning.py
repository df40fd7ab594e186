"""What a run would do, touching nothing.

Stages without a model are computed on the fly, on top of what the tables hold, so a plan of a new corpus
knows its passages. What a model would say is not known: from the first pending model stage on, figures are
upper bounds (every pending passage kept, every persona asked, every pair checked). How much a stage makes of
rows that are not known yet, where it makes something else of them, nobody can say: from there on, the plan
says that there is more to come.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.stage import Stage, Subject
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow

CHARS_PER_TOKEN = 4
_LATER_THAN_ANY_RUN = 1 << 62


@dataclass(frozen=True)
class PlannedStage:
    """One stage's line of a plan.

    Attributes:
        pending: input rows without an outcome.
        requests: of these, requests that would go to a model (none where a reply is kept already).
        tokens: estimated prompt and completion tokens of these requests.
        cost: where prices are configured.
        bound: whether the figures are upper bounds, resting on what a model would say before.
        open_ended: whether they leave out rows that a stage before may make, nobody can say how many.
    """

    stage: str
    pending: int
    requests: int = 0
    tokens: int = 0
    cost: float | None = None
    bound: bool = False
    open_ended: bool = False


@dataclass
class Planning:
    """A plan in the making.

    Attributes:
        context: of the run that is planned.
        more: rows that the stage before may add, beyond what the tables know.
        open_ended: whether it may add any number beyond them.
        asked: bodies of the recipes whose requests are planned already.
    """

    context: Context
    more: int = 0
    open_ended: bool = False
    asked: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tables: dict[str, DataFrame] = {}
        context = self.context
        self.flow = Flow(context.stages, self.read, context.recipes, context.limit, persist=True)

    def of(self, stage: Stage) -> PlannedStage:
        """A stage's line, once those of the stages before it are made."""
        line = replace(stage.plan(self.context, self), open_ended=self.open_ended)
        if self.more and stage.gives:
            # One document gives any number of passages.
            self.more, self.open_ended = 0, True
        return line

    def read(self, name: str) -> DataFrame:
        """A table with the rows that the plan has computed."""
        return self._tables.get(name, self.context.warehouse.read(name))

    @property
    def run(self) -> int:
        """The epoch that computed rows carry."""
        return self.context.run or _LATER_THAN_ANY_RUN

    def add(self, stage: Stage, rows: DataFrame) -> None:
        """Let later stages see what a stage would write."""
        name, recipe = stage.table.name, self.context.recipes[stage.name]
        marked = rows.withColumn("recipe", F.lit(recipe)).withColumn("run", F.lit(self.run))
        # Computed once, and cut off from the plan that made it: every later stage reads it several
        # times, and what is planned upon what was planned would grow without bounds.
        self._tables[name] = self.read(name).unionByName(marked.localCheckpoint(), allowMissingColumns=True)

    def reopen(self, table: str, rows: DataFrame) -> None:
        """Let no stage see rows of a table that a run would delete.

        Args:
            rows: the key of the table.
        """
        found = rows.distinct().localCheckpoint()
        if not found.isEmpty():
            self._tables[table] = self.read(table).join(found, found.columns, "left_anti")

    def longest_passage(self) -> int:
        """Estimated tokens that a passage has at most."""
        source = self.context.stages.source_of(Subject.PASSAGE)
        return int(source.section(self.context.parts.sections).max_tokens)

    def passage_tokens(self) -> int:
        """Mean estimated tokens of the passages at hand."""
        row = self.flow.made(Subject.PASSAGE).agg(F.avg("tokens").alias("mean")).collect()[0]
        return int(row["mean"] or 0)


def prompt_tokens(body: dict[str, object]) -> int:
    """Estimated tokens of a request without its passage, its longest reply included."""
    prompt = body["prompt"]
    assert isinstance(prompt, dict)
    text = len(str(prompt.get("system", ""))) + len(str(prompt.get("user", "")))
    examples = body.get("demonstrations") or {}
    assert isinstance(examples, dict)
    shown = max((len(text) for text in examples.values()), default=0)
    return text // CHARS_PER_TOKEN + shown // CHARS_PER_TOKEN + int(prompt["max_tokens"])
