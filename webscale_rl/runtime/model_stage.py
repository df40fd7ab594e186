"""A stage that asks a language model: rows in, requests, replies, rows out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.settings import AskingSettings, Section
from webscale_rl.core.stage import Body, Stage, Subject
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.passes.decided import outdated, reopen
from webscale_rl.runtime.passes.estimate import complete_directly, estimate, finished_completions
from webscale_rl.runtime.passes.model_pass import Pass
from webscale_rl.runtime.passes.run_pass import run_pass
from webscale_rl.runtime.passes.write import append
from webscale_rl.runtime.planning import PlannedStage, Planning, prompt_tokens

AskingT = TypeVar("AskingT", bound=AskingSettings)


class Asker(ABC):
    """What asks a model: a stage, or a gate of the check.

    Everything is built from a recipe's body, so that the requests of an old recipe can be rendered again.

    Attributes:
        lessons: which replies a small model may learn from: all that could be read, those behind accepted
        pairs,
            or those whose verdict is passed.
    """

    lessons: ClassVar[Literal["all", "accepted", "passed"]] = "all"

    def prepare(self, rows: DataFrame, body: Body) -> DataFrame:
        """The input rows with whatever else a request is made from."""
        return rows

    @abstractmethod
    def request(self, body: Body) -> Column:
        """The canonical JSON of a prepared row's request (`llm.requests.request`)."""

    @abstractmethod
    def prefix(self, body: Body) -> Column:
        """What rows share at the start of their prompts; requests are sent in its order."""

    @abstractmethod
    def finish(self, completed: DataFrame, body: Body) -> DataFrame:
        """Prepared rows with the column `completion` as rows of the table, less recipe and run."""

    def reply_schema(self, body: Body) -> dict[str, Any] | None:
        """The JSON schema of a reply; None for free text or a choice."""
        schema: dict[str, Any] | None = body["prompt"].get("response_schema")
        return schema

    def model_pass(
        self,
        context: Context,
        name: str,
        engine: str,
        body: Body,
        write: Callable[[DataFrame], None] = lambda rows: None,
    ) -> Pass:
        """A pass of the model over prepared rows."""
        return Pass(
            stage=name,
            engine=context.parts.engines.get(engine),
            request=lambda: self.request(body),
            prefix=self.prefix(body),
            max_tokens=int(body["sampling"]["max_tokens"]),
            finish=lambda completed: self.finish(completed, body),
            write=write,
        )


class ModelStage(Asker, Stage[AskingT]):
    """A stage that asks once for each row."""

    def engines(self, sections: Mapping[str, Section]) -> dict[str, str]:
        """Its engine."""
        return {self.name: self.section(sections).engine}

    def prefix(self, body: Body) -> Column:
        """The passage, or the document."""
        return F.col("document_key" if self.subject is Subject.DOCUMENT else "passage_key")

    def split(self, prepared: DataFrame, body: Body) -> tuple[DataFrame, DataFrame | None]:
        """The rows to ask about, and finished rows for those that need no model."""
        return prepared, None

    def run(self, context: Context, keys: DataFrame | None = None) -> None:
        """Have every pending row's request answered, and its row written."""
        flow, body = context.flow, context.bodies[self.name]
        reopen(context, self.table.name, self._outdated(context, flow))
        if flow.pending_keys(self.name, keys).isEmpty():
            return
        # Only now can no earlier run add rows any more.
        context.warehouse.claim(self.table.name)
        waiting = flow.computed(flow.pending_keys(self.name, keys))
        asked, decided = self.split(self.prepare(flow.inputs(self.name, waiting), body), body)
        if decided is not None and not decided.isEmpty():
            append(context, self, decided)
        engine = self.section(context.parts.sections).engine
        pass_ = self.model_pass(context, self.name, engine, body, lambda rows: append(context, self, rows))
        run_pass(context, pass_, asked)

    def _outdated(self, context: Context, flow: Flow) -> DataFrame:
        """The key of its rows that rest on a fault that no longer stands."""
        engine = context.parts.engines.get(self.section(context.parts.sections).engine)
        return outdated(context, flow.of_recipe(self.name), engine).select(*self.table.key)

    def bound(self, context: Context, more: int) -> int:
        """The maximum of input rows that a number of rows of the stage before can give."""
        return more

    def plan(self, context: Context, planning: Planning) -> PlannedStage:
        """The requests of the rows that are known, and at most those of the rows that may come."""
        body, engine = context.bodies[self.name], self.section(context.parts.sections).engine
        planning.reopen(self.table.name, self._outdated(context, planning.flow))
        waiting = planning.flow.pending(self.name)
        known = waiting.count()
        more = self.bound(context, planning.more)
        requests = tokens = 0
        if known:
            pass_ = self.model_pass(context, self.name, engine, body)
            asked, _ = self.split(self.prepare(waiting, body), body)
            _, requests, tokens = estimate(asked, pass_, finished_completions(context, pass_.engine))
        # A request that an earlier stage makes as well is asked once.
        asks = {name: body[name] for name in ("engine", "prompt", "sampling")}
        if more and asks not in planning.asked:
            requests += more
            tokens += more * (planning.passage_tokens() + prompt_tokens(body))
        planning.asked.append(asks)
        planning.more = known + more
        cost = context.parts.engines.get(engine).cost(tokens, 0, 0)
        return PlannedStage(self.name, known + more, requests, tokens, cost, more > 0)

    def apply(self, context: Context, rows: DataFrame) -> DataFrame:
        """The same lazily; every action on the result calls the model again."""
        body, engine = context.bodies[self.name], self.section(context.parts.sections).engine
        asked, decided = self.split(self.prepare(rows, body), body)
        done = complete_directly(asked, self.model_pass(context, self.name, engine, body))
        return done if decided is None else done.unionByName(decided)
