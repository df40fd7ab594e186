"""The check's steps: gates that run together, and what their verdicts depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webscale_rl.answers.registry import ANSWER_TYPES
from webscale_rl.core.fingerprint import recipe_hash
from webscale_rl.core.settings import AskingSettings
from webscale_rl.core.stage import Body
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.template import Placeholder, parse
from webscale_rl.stages.check.gates.base import Gate, RuleGate
from webscale_rl.stages.check.gates.frame import FrameGate
from webscale_rl.stages.check.gates.model import ModelGate
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.check.settings import CheckSettings

# Of everything that a verdict comes from, what is made of replies included.
VERSION = 4


@dataclass(frozen=True)
class Step:
    """Gates that run together: consecutive rules, or one other gate.

    Attributes:
        name: of the step's recipe, ``check.rules.1``, ``check.round_trip`` ...
        kind: rules, likelihood, duplicate_question, round_trip, round_trip_support or judge.
        gates: names of its gates.
    """

    name: str
    kind: str
    gates: tuple[str, ...]

    @property
    def gate(self) -> Gate:
        """Its gate, or the first of its rules."""
        return GATES.get(self.gates[0])

    @property
    def rules(self) -> list[RuleGate]:
        """Its gates, where they are rules."""
        return [gate for gate in map(GATES.get, self.gates) if isinstance(gate, RuleGate)]

    def asking(self, settings: CheckSettings) -> AskingSettings | None:
        """How it asks a model; None where it asks none."""
        return self.gate.asking(settings) if isinstance(self.gate, ModelGate) else None


def steps(settings: CheckSettings) -> list[Step]:
    """The configured gates as steps, in order."""
    found: list[Step] = []
    for gate in settings.gates:
        if not isinstance(GATES.get(gate), RuleGate):
            found.append(Step(f"check.{gate}", gate, (gate,)))
        elif found and found[-1].kind == "rules":
            found[-1] = Step(found[-1].name, "rules", (*found[-1].gates, gate))
        else:
            number = sum(step.kind == "rules" for step in found) + 1
            found.append(Step(f"check.rules.{number}", "rules", (gate,)))
    return found


def together(settings: CheckSettings, bodies: Mapping[str, Mapping[str, Any]]) -> list[tuple[Step, ...]]:
    """The steps in their order, in groups that work on the same pairs.

    Neighbours that ask one engine with prompts that are the same up to the passage form a group: asked in one
    pass and in the order of passages, the engine finds the passage in its cache for all but the first. The
    price is that a later gate is asked about pairs that an earlier one refuses. Any other step is a group of
    its own.

    Args:
        bodies: the steps' recipes' bodies by name (`step_bodies`).
    """
    groups: list[tuple[Step, ...]] = []
    before: tuple[Any, ...] | None = None
    for step in steps(settings):
        begins = _beginning(step.asking(settings), bodies[step.name])
        if begins is not None and begins == before:
            groups[-1] = (*groups[-1], step)
        else:
            groups.append((step,))
        before = begins
    return groups


def _beginning(asking: AskingSettings | None, body: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a gate's requests about a passage share, up to the passage; None where they share nothing."""
    if asking is None:
        return None
    prompt = body["prompt"]
    system = parse(prompt["system"])
    pieces = [*system, *parse(prompt["user"])]
    names = [piece.name if isinstance(piece, Placeholder) else None for piece in pieces]
    if "passage" not in names:
        return None
    until = names.index("passage") + 1
    if not {"title", "passage", None}.issuperset(names[:until]):
        return None
    return (asking.engine, prompt["prompt_format"], len(system), tuple(pieces[:until]))


def step_bodies(settings: CheckSettings, parts: Parts) -> dict[str, Body]:
    """Everything that the verdicts of each step depend on, by the step's name.

    Raises:
        ConfigError: a prompt is missing, wrong, or lacks what its gate reads.
        EngineUnavailableError: an engine that a gate asks cannot work here.
    """
    found: dict[str, Body] = {}
    for step in steps(settings):
        body: Body = {"stage": step.name, "version": VERSION, "gates": list(step.gates)}
        versions = {name: GATES.get(name).version for name in step.gates if GATES.get(name).version > 1}
        # Answers are compared and have their shape by the types as they are now.
        versions |= {kind.name: kind.version for kind in ANSWER_TYPES if kind.version > 1}
        if versions:
            body["versions"] = versions
        gate = step.gate
        if isinstance(gate, ModelGate):
            body |= gate.body(settings, *parts.asked(gate.asking(settings)))
        elif isinstance(gate, FrameGate):
            body |= gate.body(settings)
            if gate.compares:
                # Which siblings a question is compared with depends on what the gates before let through.
                body["after"] = [recipe_hash(earlier) for earlier in found.values()]
        else:
            body["settings"] = settings.rules.model_dump(mode="json")
            own = [rule for rule in step.rules if rule.section and rule.section != "rules"]
            if own:
                body["own"] = {rule.name: rule.own_settings(settings).model_dump(mode="json") for rule in own}
        found[step.name] = body
    return found
