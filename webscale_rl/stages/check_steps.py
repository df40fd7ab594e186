"""Which gates the check runs, how, and in which order: its settings, and its steps with their recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator

from webscale_rl.answers.gates import RULE_GATES, GateSettings
from webscale_rl.config_types import AskingSettings
from webscale_rl.errors import ConfigError
from webscale_rl.llm.asking import asking_body, require_reply_fields
from webscale_rl.llm.catalogue import Prompt
from webscale_rl.llm.template import Placeholder, parse
from webscale_rl.settings import Section

# Of everything that a verdict comes from, what `stages.check` makes of replies included.
VERSION = 1

DUPLICATE = "duplicate_question"
LIKELIHOOD = "likelihood"
ROUND_TRIP = "round_trip"
ROUND_TRIP_SUPPORT = "round_trip_support"
ROUND_TRIPS = (ROUND_TRIP, ROUND_TRIP_SUPPORT)
JUDGE = "judge"
OTHER_GATES = (LIKELIHOOD, DUPLICATE, *ROUND_TRIPS, JUDGE)

#: What the method verdict scores, and the reason that each stands for.
VERDICTS = {
    "good": None,
    "wrong": "judged_wrong",
    "unclear": "judged_not_self_contained",
    "leaking": "judged_leaking",
}


class RoundTripSettings(AskingSettings):
    """How a question is answered again."""

    method: Literal["free", "choices"] = Field(
        description="free: the model writes the answer; choices: it chooses among spans of the "
        "answer's type, which is what a very small model can do"
    )
    min_margin: float = Field(
        ge=0,
        description="choices: by how much the answer's mean log-probability must exceed the next best's",
    )


class JudgeSettings(AskingSettings):
    """How a model judges."""

    method: Literal["prompt", "verdict"] = Field(
        description="prompt: the model writes its judgement under the prompt's schema; verdict: the words "
        "good, wrong, unclear and leaking are scored, which is what a small tuned model can do"
    )
    min_good: float = Field(ge=0, le=1, description="verdict: least probability of good among the four")


class CheckSettings(Section):
    """Which gates run, in which order, and how."""

    gates: list[str] = Field(min_length=1, description="names of the gates, in order")
    rules: GateSettings = Field(description="thresholds of the rule gates")
    min_question_logprob: float = Field(
        le=0,
        description="likelihood: least product of the reply's mean token log-probability and the question's "
        "words",
    )
    round_trip: RoundTripSettings = Field(description="the gates round_trip and round_trip_support")
    judge: JudgeSettings = Field(description="the gate judge")

    @field_validator("gates")
    @classmethod
    def _known(cls, gates: list[str]) -> list[str]:
        known = [*RULE_GATES, *OTHER_GATES]
        for gate in gates:
            if gate not in known:
                raise ValueError(f"unknown gate {gate!r}, known are {', '.join(known)}")
        if len(set(gates)) != len(gates):
            raise ValueError("a gate is named twice")
        return gates

    def asking(self, gate: str) -> RoundTripSettings | JudgeSettings | None:
        """How a gate asks a model; None for one that asks none."""
        if gate in ROUND_TRIPS:
            return self.round_trip
        return self.judge if gate == JUDGE else None


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


def steps(settings: CheckSettings) -> list[Step]:
    """The configured gates as steps, in order."""
    found: list[Step] = []
    for gate in settings.gates:
        if gate in OTHER_GATES:
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
        bodies: the steps' recipes' bodies by name (`step_body`).
    """
    groups: list[tuple[Step, ...]] = []
    before: tuple[Any, ...] | None = None
    for step in steps(settings):
        begins = _beginning(settings.asking(step.kind), bodies[step.name])
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


def step_body(
    step: Step,
    settings: CheckSettings,
    prompt: Prompt | None = None,
    identity: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that a step's verdicts depend on.

    Args:
        prompt, identity: of the gates round_trip and judge.

    Raises:
        ConfigError: the prompt's schema lacks a field that is read.
    """
    body: dict[str, Any] = {"stage": step.name, "version": VERSION, "gates": list(step.gates)}
    if step.kind == "rules":
        return body | {"settings": settings.rules.model_dump(mode="json")}
    if step.kind == DUPLICATE:
        return body
    if step.kind == LIKELIHOOD:
        return body | {"min_question_logprob": settings.min_question_logprob}
    asking = settings.asking(step.kind)
    assert asking is not None
    assert prompt is not None
    assert identity is not None
    body |= asking_body(asking, prompt, identity)
    if step.kind in ROUND_TRIPS:
        if step.kind == ROUND_TRIP_SUPPORT and "context" not in prompt.placeholders():
            raise ConfigError(f"gate {step.kind}: the prompt {asking.prompt} has no place for {{context}}")
        if settings.round_trip.method == "free" and prompt.response_schema is not None:
            require_reply_fields(prompt, asking.prompt, {"answer"})
        return body | {
            "method": settings.round_trip.method,
            "min_margin": settings.round_trip.min_margin,
        }
    if settings.judge.method == "prompt":
        require_reply_fields(prompt, asking.prompt, {"correct", "self_contained", "leaks_answer"})
        return body
    return body | {"method": "verdict", "min_good": settings.judge.min_good}
