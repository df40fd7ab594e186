"""check: is a pair right, self-contained, and not giving its answer away?

Gates run in the configured order, each only on the pairs that the ones before it passed; consecutive rule
gates are evaluated together, so that all their reasons are seen, and consecutive gates of a model whose
prompts begin alike, so that it reads each passage once for all of them. Every verdict is a row of
`gate_verdicts` under the gate's own recipe; the check's row is derived from them. A gate that did not run is
null, never true; a judgement that cannot be read rejects.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import recipe_hash
from webscale_rl.core.settings import Section
from webscale_rl.core.stage import Body, Stage, Subject
from webscale_rl.llm.parts import Parts
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.passes.decided import outdated, reopen
from webscale_rl.runtime.passes.estimate import complete_directly
from webscale_rl.runtime.passes.model_pass import Pass
from webscale_rl.runtime.passes.run_pass import run_pass
from webscale_rl.runtime.passes.write import append_counting, append_under
from webscale_rl.runtime.planning import PlannedStage, Planning, prompt_tokens
from webscale_rl.stages.check.gates.frame import FrameGate
from webscale_rl.stages.check.gates.model import ModelGate
from webscale_rl.stages.check.settings import CheckSettings, check_settings
from webscale_rl.stages.check.steps import VERSION, Step, step_bodies, steps, together
from webscale_rl.stages.check.tables import CHECKED, GATE_VERDICTS
from webscale_rl.stages.check.verdicts import apply_rules, derive

# Which gate a row of a pass is for.
_GATE = "_gate"


class CheckStage(Stage[CheckSettings]):
    """The stage check."""

    name = "check"
    version = VERSION
    after = "generate"
    summary = "check the pairs"
    subject = Subject.PAIR
    table = CHECKED
    side_tables = (GATE_VERDICTS,)
    carries = ("verdicts", "scores")

    @property
    def settings(self) -> type[CheckSettings]:  # type: ignore[override]
        """With the sections of the gates that are known now."""
        return check_settings()

    def recipe(self, parts: Parts) -> Body:
        """The gates, and their steps' recipes."""
        return self.recipes(parts)[self.name]

    def recipes(self, parts: Parts) -> dict[str, Body]:
        """A recipe a step, and the check's own that rests on them."""
        settings = self.section(parts.sections)
        found = step_bodies(settings, parts)
        own = {
            "stage": self.name,
            "version": self.version,
            "gates": list(settings.gates),
            "steps": [recipe_hash(body) for body in found.values()],
        }
        return found | {self.name: own}

    def engines(self, sections: Mapping[str, Section]) -> dict[str, str]:
        """The engines of the gates that ask a model."""
        settings = self.section(sections)
        asked = {step.name: step.asking(settings) for step in steps(settings)}
        return {name: asking.engine for name, asking in asked.items() if asking is not None}

    def inputs(self, flow: Flow, keys: DataFrame) -> DataFrame:
        """The pairs with their passages."""
        texts = flow.made(Subject.PASSAGE).select("passage_key", "title", F.col("text").alias("passage"))
        return flow.subjects(self.subject, keys).join(texts, "passage_key")

    def run(self, context: Context, keys: DataFrame | None = None) -> None:
        """Each gate on the pairs that wait for it, then the rows derived from the verdicts."""
        flow, settings = context.flow, self.section(context.parts.sections)
        verdicts = self._outdated(context)
        if not verdicts.isEmpty():
            # The rows that rest on the verdicts first: killed in between, both are found again.
            reopen(context, self.table.name, self._resting(flow, verdicts))
            reopen(context, GATE_VERDICTS.name, verdicts)
        if flow.pending_keys(self.name, keys).isEmpty():
            return
        context.warehouse.claim(GATE_VERDICTS.name)
        work = _Work(context, self, settings)
        # Only keys are carried from gate to gate; texts are joined for the pairs that a gate works on.
        alive = flow.limited(flow.keys(self.name))
        if keys is not None:
            alive = alive.join(keys.select("pair_key"), "pair_key", "left_semi")
        work.pass_gates(alive)
        rows = derive(flow.pending_keys(self.name, keys), work.all_verdicts(), settings.gates)
        total = rows.count()
        if total:
            context.warehouse.claim(self.table.name)
            context.progress.begin(self.name, total)
            context.progress.advance(total, append_counting(context, self, rows))
            context.progress.end()

    def _outdated(self, context: Context) -> DataFrame:
        """The key of the verdicts of its gates that rest on a fault that no longer stands."""
        settings = self.section(context.parts.sections)
        found = context.warehouse.read(GATE_VERDICTS.name).select(*GATE_VERDICTS.key).where("false")
        for step in steps(settings):
            asking = step.asking(settings)
            if asking is not None:
                mine = _verdicts(context, step)
                rows = outdated(context, mine, context.parts.engines.get(asking.engine))
                found = found.unionByName(rows.select(*GATE_VERDICTS.key))
        return found

    def _resting(self, flow: Flow, verdicts: DataFrame) -> DataFrame:
        """The key of its rows that rest on some verdicts."""
        rows = flow.of_recipe(self.name).join(verdicts.select("pair_key"), "pair_key", "left_semi")
        return rows.select(*self.table.key)

    def plan(self, context: Context, planning: Planning) -> PlannedStage:
        """Every pair that is or may come, asked about by every gate."""
        planning.reopen(self.table.name, self._resting(planning.flow, self._outdated(context)))
        pending = planning.flow.pending_keys(self.name).count() + planning.more
        settings = self.section(context.parts.sections)
        requests = tokens = 0
        cost: float | None = None
        for step in steps(settings):
            asking = step.asking(settings)
            if asking is not None:
                length = prompt_tokens(context.bodies[step.name]) + planning.longest_passage()
                requests += pending
                tokens += pending * length
                part = context.parts.engines.get(asking.engine).cost(pending * length, 0, 0)
                cost = part if cost is None else cost + (part or 0.0)
        planning.more = pending
        return PlannedStage(self.name, pending, requests, tokens, cost, pending > 0)

    def apply(self, context: Context, rows: DataFrame) -> DataFrame:
        """The same lazily; every action on the result calls the models again."""
        settings = self.section(context.parts.sections)
        alive = rows
        verdicts: DataFrame | None = None
        columns = ("pair_key", "gate", "passed", "reason", "score")
        for group in together(settings, context.bodies):
            asked = alive
            for step in group:
                found = _apply_step(context, step, settings, asked).select(*columns)
                verdicts = found if verdicts is None else verdicts.unionByName(found)
                passed = found.groupBy("pair_key").agg(F.bool_and("passed").alias("ok")).where("ok")
                alive = alive.join(passed.select("pair_key"), "pair_key", "left_semi")
        assert verdicts is not None
        return derive(rows, verdicts, settings.gates)


def _apply_step(context: Context, step: Step, settings: CheckSettings, pairs: DataFrame) -> DataFrame:
    """The verdicts of a step's gates, without a warehouse."""
    gate = step.gate
    if isinstance(gate, FrameGate):
        return gate.apply(pairs, settings)
    if not isinstance(gate, ModelGate):
        return apply_rules(pairs, step.rules, settings)
    body = context.bodies[step.name]
    pass_ = gate.model_pass(context, step.name, gate.asking(settings).engine, body)
    return complete_directly(gate.prepare(pairs, body), pass_)


def _verdicts(context: Context, step: Step) -> DataFrame:
    """A step's verdicts under its recipe in force."""
    return context.warehouse.read(GATE_VERDICTS.name).where(
        F.col("gate").isin(list(step.gates)) & (F.col("recipe") == context.recipes[step.name])
    )


class _Work:
    """One run's way through the gates."""

    def __init__(self, context: Context, stage: CheckStage, settings: CheckSettings) -> None:
        self.context, self.flow, self.settings, self.name = context, context.flow, settings, stage.name

    def pass_gates(self, alive: DataFrame) -> None:
        """Have each gate judge the pairs that those before have passed.

        Args:
            alive: the keys of the stage's input.
        """
        undecided: DataFrame | None = None
        for group in together(self.settings, self.context.bodies):
            if isinstance(group[0].gate, ModelGate):
                self._ask(group, alive)
            else:
                self._judge_without_model(group[0], alive, undecided)
            alive = self._not_refused(group, alive)
            for step in group:
                seen = self._verdicts(step)
                passed = seen.groupBy("pair_key").agg(F.bool_and("passed").alias("ok")).where("ok")
                pending = alive.join(seen.select("pair_key"), "pair_key", "left_anti").select("passage_key")
                undecided = pending if undecided is None else undecided.union(pending)
                alive = alive.join(passed.select("pair_key"), "pair_key", "left_semi")
            alive = self.flow.computed(alive)
            undecided = None if undecided is None else self.flow.computed(undecided)

    def all_verdicts(self) -> DataFrame:
        """Every gate's verdicts under the recipes in force."""
        return _union([self._verdicts(step) for step in steps(self.settings)])

    def _verdicts(self, step: Step) -> DataFrame:
        """A step's verdicts under its recipe in force."""
        return _verdicts(self.context, step)

    def _append(self, group: Sequence[Step], rows: DataFrame) -> None:
        """Append verdicts of some steps' gates, each under its step's recipe."""
        recipes = self.context.recipes
        ours = [F.when(F.col("gate").isin(list(step.gates)), recipes[step.name]) for step in group]
        append_under(self.context, GATE_VERDICTS.name, rows, F.coalesce(*ours))

    def _not_refused(self, group: Sequence[Step], keys: DataFrame) -> DataFrame:
        """The pairs that none of a group's steps has refused (one step alone asks nothing about them
        anyway).
        """
        for step in group if len(group) > 1 else ():
            refused = self._verdicts(step).where("NOT passed").select("pair_key").distinct()
            keys = keys.join(refused, "pair_key", "left_anti")
        return keys

    def _judge_without_model(self, step: Step, alive: DataFrame, undecided: DataFrame | None) -> None:
        """Have gates that ask no model judge the pairs that are alive and have no verdict of them yet.

        Args:
            alive: keys of the pairs that the steps before have passed.
            undecided: passage_key of pairs that the steps before could not judge yet.
        """
        flow, gate = self.flow, step.gate
        judged = self._verdicts(step).where(F.col("gate") == step.gates[0])
        waiting = alive.join(judged.select("pair_key"), "pair_key", "left_anti")
        compares = isinstance(gate, FrameGate) and gate.compares
        if compares:
            # A question is compared with its siblings only when all of them are there.
            before = itertools.takewhile(lambda stage: stage.name != self.name, flow.stages.of(Subject.PAIR))
            unfinished = [flow.pending_keys(stage.name).select("passage_key") for stage in before]
            unfinished += [] if undecided is None else [undecided]
            waiting = waiting.join(_union(unfinished), "passage_key", "left_anti")
        if waiting.isEmpty():
            return
        if not isinstance(gate, FrameGate):
            rows = apply_rules(flow.inputs(self.name, waiting), step.rules, self.settings)
        elif compares:
            passages = waiting.select("passage_key").distinct()
            siblings = alive.join(passages, "passage_key", "left_semi")
            rows = gate.apply(flow.inputs(self.name, siblings), self.settings).join(
                waiting.select("pair_key"), "pair_key", "left_semi"
            )
        else:
            rows = gate.apply(flow.inputs(self.name, waiting), self.settings)
        self._append([step], rows.withColumn("request_id", F.lit(None).cast("string")))

    def _ask(self, group: Sequence[Step], alive: DataFrame) -> None:
        """Have a model judge the pairs that are alive, for all gates of a group in one pass."""
        # A pair that one of them has refused in an earlier run needs no other verdict.
        alive = self._not_refused(group, alive)
        waiting: dict[Step, DataFrame] = {}
        for step in group:
            keys = alive.join(self._verdicts(step).select("pair_key"), "pair_key", "left_anti")
            if not keys.isEmpty():
                waiting[step] = keys
        if not waiting:
            return
        bodies = {step: self.context.bodies[step.name] for step in waiting}
        gates = {step: gate for step in waiting if isinstance(gate := step.gate, ModelGate)}
        subjects = [
            gates[step]
            .prepare(self.flow.inputs(self.name, keys), bodies[step])
            .withColumn(_GATE, F.lit(step.kind))
            for step, keys in waiting.items()
        ]

        def request() -> Column:
            asked = [F.when(F.col(_GATE) == s.kind, gate.request(bodies[s])) for s, gate in gates.items()]
            return F.coalesce(*asked)

        def finish(completed: DataFrame) -> DataFrame:
            found = [
                gate.finish(completed.where(F.col(_GATE) == step.kind), bodies[step])
                for step, gate in gates.items()
            ]
            return _union(found)

        asker = next(iter(gates.values()))
        run_pass(
            self.context,
            Pass(
                stage=f"{self.name}.{'_and_'.join(step.kind for step in group)}",
                engine=self.context.parts.engines.get(asker.asking(self.settings).engine),
                request=request,
                prefix=asker.prefix(next(iter(bodies.values()))),
                max_tokens=max(int(body["sampling"]["max_tokens"]) for body in bodies.values()),
                finish=finish,
                write=lambda rows: self._append(group, rows),
                gates=tuple(step.kind for step in group) if len(group) > 1 else (),
            ),
            functools.reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), subjects),
        )


def _union(frames: Sequence[DataFrame]) -> DataFrame:
    return functools.reduce(DataFrame.unionByName, frames)


STAGE = CheckStage()
