"""Which gates the check runs, in which order, and how."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model, field_validator

from webscale_rl.core.settings import Section
from webscale_rl.errors import ConfigError
from webscale_rl.stages.check.gates.judge import JudgeSettings
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.check.gates.round_trip import RoundTripSettings
from webscale_rl.stages.check.gates.rules import GateSettings


class CheckSettings(Section):
    """Which gates run, in which order, and how."""

    gates: list[str] = Field(min_length=1, description="names of the gates, in order")
    rules: GateSettings = Field(description="thresholds of the rule gates")
    min_question_logprob: float = Field(
        le=0,
        description="likelihood: minimum of a reply's mean token log-probability times the question's words",
    )
    round_trip: RoundTripSettings = Field(description="the gates round_trip and round_trip_support")
    judge: JudgeSettings = Field(description="the gate judge")

    @field_validator("gates")
    @classmethod
    def _known(cls, gates: list[str]) -> list[str]:
        for gate in gates:
            if gate not in GATES:
                raise ValueError(f"unknown gate {gate!r}, known are {', '.join(GATES.names)}")
        if len(set(gates)) != len(gates):
            raise ValueError("a gate is named twice")
        return gates


def check_settings() -> type[CheckSettings]:
    """`CheckSettings` with the sections of all gates that bring one of their own.

    Raises:
        ConfigError: a gate's section has settings of another kind already.
    """
    more: dict[str, Any] = {}
    known: dict[str, Any] = dict(CheckSettings.model_fields)
    for gate in GATES:
        if gate.section and gate.settings:
            if known.setdefault(gate.section, gate.settings) is not gate.settings:
                raise ConfigError(f"gate {gate.name!r}: there is a check.{gate.section} already")
            # A section that may be left out has defaults for all it holds.
            fields = gate.settings.model_fields.values()
            default = ... if any(field.is_required() for field in fields) else gate.settings()
            used = gate.settings if default is not ... else gate.settings | None
            more[gate.section] = (used, Field(default=None if default is ... else default))
    return create_model("CheckSettings", __base__=CheckSettings, **more) if more else CheckSettings
