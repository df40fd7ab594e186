"""The tables of check."""

from __future__ import annotations

from webscale_rl.core.table import (
    BOOL,
    DOUBLE,
    SCORES,
    STRING,
    VERDICTS,
    WRITTEN,
    Table,
    stage_table,
)

GATE_VERDICTS = Table(
    "gate_verdicts",
    "check: one row per pair and gate that ran; a gate that did not run has no row",
    (
        ("pair_key", STRING, "the pair"),
        ("gate", STRING, "name of the gate"),
        ("passed", BOOL, "the verdict"),
        ("reason", STRING, "why it failed; null when passed"),
        ("detail", STRING, "what the gate saw (the answer of the round trip, the judge's words)"),
        (
            "score",
            DOUBLE,
            "what the gate measured: agreement, probability of good, log-probability times words",
        ),
        ("request_id", STRING, "the completion that was parsed; null for rules"),
        *WRITTEN,
    ),
    ("gate", "recipe"),
    ("pair_key", "gate", "recipe"),
)


CHECKED = stage_table(
    "checked",
    "check: the verdict on a pair, derived from its gates' verdicts",
    "pair_key",
    ("verdicts", VERDICTS, "per configured gate: true, false, or null where it did not run"),
    ("scores", SCORES, "per gate that has one: its score"),
)
