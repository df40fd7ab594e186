"""Every gate that comes along: importing this module makes them known."""

from __future__ import annotations

from webscale_rl.stages.check.gates import rules
from webscale_rl.stages.check.gates.base import GATES
from webscale_rl.stages.check.gates.duplicates import DuplicateQuestionGate
from webscale_rl.stages.check.gates.judge import Judge
from webscale_rl.stages.check.gates.likelihood import LikelihoodGate
from webscale_rl.stages.check.gates.round_trip import RoundTrip, RoundTripSupport

__all__ = ["GATES", "rules"]

for gate in (LikelihoodGate(), DuplicateQuestionGate(), RoundTrip(), RoundTripSupport(), Judge()):
    GATES.register(gate)
