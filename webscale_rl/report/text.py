"""Figures as text for the terminal, and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame

from webscale_rl.report.status import StageStatus
from webscale_rl.runtime.planning import PlannedStage
from webscale_rl.runtime.result import RunResult
from webscale_rl.storage.warehouse import Warehouse
from webscale_rl.text.layout import clipped, printable

MAX_CELL = 100

QUERIES = (
    "SELECT question, answer, quotation FROM qa_pairs LIMIT 20",
    "SELECT stage, reason, count(*) AS n FROM rejects LATERAL VIEW explode(reasons) AS reason "
    "GROUP BY ALL ORDER BY n DESC",
    "SELECT domain, count(*) AS pairs, avg(scores['round_trip']) AS agreement FROM qa_pairs GROUP BY domain",
)


def grid(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as aligned columns; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(len(name), *(len(row[i]) for row in cells)) if cells else len(name)
        for i, name in enumerate(header)
    ]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(header))
    ]

    def line(values: Sequence[str]) -> str:
        return "  ".join(
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        ).rstrip()

    return "\n".join([line(list(header)), line(["-" * w for w in widths]), *map(line, cells)])


def _cell(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return clipped(text, MAX_CELL)


def funnel(statuses: Sequence[StageStatus]) -> str:
    """The funnel: rows in, kept, rejected by reason, pending, at every stage."""
    rows = [(s.stage, s.rows_in, s.kept, s.rejected, s.pending, _reasons(s.reasons)) for s in statuses]
    return grid(("stage", "rows in", "kept", "rejected", "pending", "reasons"), rows)


def _reasons(reasons: dict[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)


def status(statuses: Sequence[StageStatus], held: str | None) -> str:
    """The funnel with tokens and the holder."""
    asked = [s for s in statuses if s.requests or s.failed]
    rows = [
        (
            s.stage,
            s.requests,
            s.failed,
            s.prompt_tokens,
            s.cached_tokens,
            s.completion_tokens,
            s.seconds,
            s.engines_built,
            s.engines_reused,
        )
        for s in asked
    ]
    header = (
        "stage",
        "requests",
        "failing",
        "prompt",
        "cached",
        "reply",
        "engine seconds",
        "loaded",
        "reused",
    )
    parts = [funnel(statuses)]
    if rows:
        parts.append(grid(header, rows))
    parts.append(f"held by {held}" if held else "no run holds the warehouse")
    return "\n\n".join(parts)


def status_json(statuses: Sequence[StageStatus], held: str | None) -> str:
    """The same as JSON: {"stages": [...], "held_by": ...}."""
    data = {"stages": [s.as_dict() for s in statuses], "held_by": held}
    return json.dumps(data, ensure_ascii=False, indent=2)


def run_line(result: RunResult) -> str:
    """What a run did, in one line."""
    pairs = "" if result.pairs is None else f", {result.pairs} accepted pairs in qa_pairs"
    cost = f", cost {result.cost:.4f}" if result.cost else ""
    return (
        f"run {result.run} {result.outcome}: {result.requests} requests, {result.tokens} tokens{cost}{pairs}"
    )


def plan(planned: Sequence[PlannedStage]) -> str:
    """A plan as a table."""
    rows = [
        (
            p.stage,
            p.pending,
            p.requests,
            p.tokens,
            p.cost if p.cost is not None else "",
            "and more" if p.open_ended else "at most" if p.bound else "",
        )
        for p in planned
    ]
    table = grid(("stage", "pending", "requests", "tokens", "cost", ""), rows)
    requests, tokens = sum(p.requests for p in planned), sum(p.tokens for p in planned)
    costs = [p.cost for p in planned if p.cost is not None]
    cost = f", cost {sum(costs):.4f}" if costs else ""
    more = ", and more that nobody can tell yet" if any(p.open_ended for p in planned) else ""
    return f"{table}\n\nin all: {requests} requests, about {tokens} tokens{cost}{more}; nothing was touched"


def plan_json(planned: Sequence[PlannedStage]) -> str:
    """A plan as JSON."""
    return json.dumps({"stages": [vars(p) for p in planned]}, indent=2)


def frame(rows: DataFrame, form: str) -> str:
    """A query's result as a table, JSON lines or CSV."""
    if form == "json":
        return _json_lines(rows)
    collected = [tuple(row) for row in rows.collect()]
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(rows.columns)
        writer.writerows(collected)
        return out.getvalue().rstrip("\n")
    return grid(rows.columns, collected)


def _json_lines(rows: DataFrame) -> str:
    return "\n".join(
        json.dumps(row.asDict(recursive=True), ensure_ascii=False, default=str) for row in rows.collect()
    )


def samples(warehouse: Warehouse, count: int) -> str:
    """Some accepted pairs with their support, where the tables lie, and queries to try."""
    rows = (
        warehouse.read("qa_pairs")
        .orderBy("pair_key")
        .select("question", "answer", "quotation", "domain", "persona", "source_id")
        .limit(count)
        .collect()
    )
    lines = ["", f"accepted pairs ({len(rows)} shown):"]
    for row in rows:
        lines += [
            f"  Q: {printable(row['question'])}",
            f"  A: {printable(row['answer'])}    "
            f"[{row['domain']}, for: {_cell(row['persona'])}, from: {_cell(row['source_id'])}]",
            f'     "{_cell(row["quotation"])}"',
        ]
    location = warehouse.location
    lines += [
        "",
        f"tables: {location}/<table>  (qa_pairs, rejects, funnel, completions, ...)",
        "try:",
    ]
    lines += [f'  webscale-rl sql --warehouse {location} "{query}"' for query in QUERIES]
    return "\n".join(lines)
