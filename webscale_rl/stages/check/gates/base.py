"""What a gate is: one object that says yes to a pair, or no with a reason.

Three kinds: rules (a function of the pair alone, run in Python workers), frame gates (anything that Spark can
say of the pairs without a model), and gates that ask a model (`gates.model`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from webscale_rl.core.registry import Registry
from webscale_rl.core.settings import Section
from webscale_rl.errors import ConfigError

#: One row a (pair, gate); detail is what the gate saw, score what it measured.
VERDICT_DDL = "pair_key string, gate string, passed boolean, reason string, detail string, score double"


@dataclass(frozen=True)
class PairView:
    """What rules see of a pair.

    Attributes:
        question: the question.
        answer: the expected answer.
        answer_type: name of one of `webscale_rl.answers.registry.ANSWER_TYPES`.
        quotation: the words of the passage that support the answer.
        passage: the passage's text.
        title: the passage's title, "" if it has none.
    """

    question: str
    answer: str
    answer_type: str
    quotation: str
    passage: str
    title: str = ""


class Gate(ABC):
    """One gate of the check.

    Attributes:
        name: as the configuration's list of gates has it.
        version: goes up when the same pair and settings give another verdict.
        summary: what passes, in one line.
        reasons: short stable names of what it can say against a pair, beside faults of an engine or a reply.
        section: where its settings stand in the section check.
        settings: their type, where the section is its own.
    """

    name: str
    version: int = 1
    summary: str
    reasons: tuple[str, ...] = ()
    section: str | None = None
    settings: ClassVar[type[Section] | None] = None

    def own_settings(self, check: Any) -> Any:
        """Its settings among those of the check.

        Raises:
            ConfigError: its section is missing.
        """
        found = getattr(check, self.section) if self.section else check
        if found is None:
            raise ConfigError(f"gate {self.name}: its section check.{self.section} is missing")
        return found


class RuleGate(Gate):
    """A gate that a function of the pair decides; neighbours among them run together."""

    section: str | None = "rules"

    @abstractmethod
    def judge(self, pair: PairView, settings: Any) -> str | None:
        """The reason against the pair; None if there is none."""


@dataclass(frozen=True, eq=False)
class FunctionGate(RuleGate):
    """A rule gate made of a function (`rule`)."""

    name: str
    function: Callable[[PairView, Any], str | None]
    summary: str
    reasons: tuple[str, ...]
    section: str | None = "rules"
    version: int = 1

    def judge(self, pair: PairView, settings: Any) -> str | None:
        """What the function says."""
        return self.function(pair, settings)


#: Every gate by name.
GATES: Registry[Gate] = Registry("gate")


def function_gate(
    function: Callable[[PairView, Any], str | None], name: str = "", reasons: tuple[str, ...] = ()
) -> FunctionGate:
    """A gate of a function: its name is the function's unless given, its summary the docstring's first
    line.
    """
    summary = (function.__doc__ or "").strip().split("\n")[0]
    return FunctionGate(name or function.__name__, function, summary, reasons or (name or function.__name__,))


def rule(
    name: str = "", reasons: tuple[str, ...] = ()
) -> Callable[[Callable[[PairView, Any], str | None]], Callable[[PairView, Any], str | None]]:
    """Register a function of a pair and the settings of `check.rules` as a gate."""

    def registered(function: Callable[[PairView, Any], str | None]) -> Callable[[PairView, Any], str | None]:
        GATES.register(function_gate(function, name, reasons))
        return function

    return registered
