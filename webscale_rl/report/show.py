"""One row's whole life as text, from the source to the verdicts, with every prompt and raw reply."""

from __future__ import annotations

from webscale_rl.core.stage import Stage, Subject
from webscale_rl.report.exchange import exchange
from webscale_rl.report.history import Answered, History, Row, resolve
from webscale_rl.stages.check.tables import GATE_VERDICTS
from webscale_rl.stages.registry import STAGES
from webscale_rl.storage.warehouse import Warehouse
from webscale_rl.text.layout import block, clipped, field, heading, joined, number, short

DOCUMENT_CHARS = 3000
MAX_PASSAGES = 20
MAX_PAIRS = 60


def show(warehouse: Warehouse, key: str) -> str:
    """Everything that the warehouse knows of a pair, a passage or a document.

    Args:
        key: the key, or a beginning that no other has.

    Returns:
        Readable text, wrapped to about 100 columns.

    Raises:
        UserError: no key begins so, or several do.
    """
    kind, full = resolve(warehouse, key)
    history = History(warehouse)
    make = {"pair": _pair, "passage": _passage, "document": _document}[kind]
    return joined(make(history, full))


# -- the three kinds ------------------------------------------------------------------------------


def _pair(history: History, key: str) -> list[str]:
    made_by, *judges = STAGES.of(Subject.PAIR)
    pair = history.verdicts(made_by.name, pair_key=key)[0]
    passage = _passage_row(history, pair["passage_key"])
    judged = [(stage, first(history.verdicts(stage.name, pair_key=key))) for stage in judges]
    document = history.document(pair["document_key"])
    gates, not_run = _gates(history, key, judged)
    asked = _asked_of_passage(history, passage)
    subject = passage | {"passage": passage.get("text")} | pair
    rows = [(row, passage) for _, row in asked] + [(pair, subject)]
    rows += [(row, subject) for row in (*gates, *(row for _, row in judged if row is not None))]
    answers = iter(history.answered(rows))
    lines = [f"pair {key}", *_verdict_on_pair(history.is_accepted(key), [(made_by, pair), *judged], document)]
    lines += _about_document(document)
    lines += _document_verdicts(history, document)
    lines += _about_passage(passage)
    lines += _about_asked(asked, [next(answers) for _ in asked])
    lines += heading(f"{made_by.name}: {_status(pair)}")
    lines += _described(made_by, pair)
    lines += exchange(pair, next(answers))
    answered = [next(answers) for _ in gates]
    before = [pair]
    for stage, row in judged:
        lines += heading(f"{stage.name}: {_status(row) if row is not None else _why_no_row(*before)}")
        if GATE_VERDICTS in stage.tables:
            lines += _about_gates(gates, answered)
            lines += [f"  {name:<20} did not run" for name in not_run if pair["status"] == "kept"]
        if row is not None:
            lines += _described(stage, row)
            lines += exchange(row, next(answers))
            before.append(row)
    return lines


def _passage(history: History, key: str) -> list[str]:
    passage = _passage_row(history, key)
    document = history.document(passage["document_key"])
    asked = _asked_of_passage(history, passage)
    answers = history.answered([(row, passage) for _, row in asked])
    lines = [f"passage {key}", *_about_document(document), *_document_verdicts(history, document)]
    lines += _about_passage(passage)
    lines += _about_asked(asked, answers)
    pairs = history.current_of(_name_of(Subject.PAIR), history.rows(Subject.PAIR.table, passage_key=key))
    return lines + _pairs_in_brief(history, pairs)


def _document(history: History, key: str) -> list[str]:
    document = history.document(key)
    lines = [f"document {key}", *_about_document(document), *_document_verdicts(history, document)]
    text = document.get("text") or ""
    lines += heading(f"text: {len(text)} characters")
    lines += block(text[:DOCUMENT_CHARS], 2)
    if len(text) > DOCUMENT_CHARS:
        lines.append(f"  ... {len(text) - DOCUMENT_CHARS} more characters, in the table documents")
    rows = history.rows(Subject.PASSAGE.table, document_key=key)
    passages = history.current_of(_name_of(Subject.PASSAGE), rows)
    keys = [row["passage_key"] for row in passages]
    judged = {stage: history.of_keys(stage.name, "passage_key", keys) for stage in STAGES.of(Subject.PASSAGE)}
    lines += heading(f"passages: {len(passages)}")
    for row in sorted(passages, key=lambda row: row["ordinal"] or 0)[:MAX_PASSAGES]:
        name = short(row["passage_key"])
        if row["status"] == "rejected":
            lines += field(name, f"rejected: {', '.join(row['reasons'])}", width=15)
            continue
        said = [f"{row['tokens']} tokens"]
        for place, (stage, found) in enumerate(judged.items()):
            verdict = found.get(row["passage_key"])
            if verdict is not None or place == 0:
                said.append(f"{stage.name} {_status(verdict)}")
            if verdict is not None:
                said.append(stage.brief(verdict))
        lines += field(name, "; ".join(filter(None, said)), width=15)
    if len(passages) > MAX_PASSAGES:
        lines.append(f"  ... {len(passages) - MAX_PASSAGES} more, in the table passages")
    pairs = history.current_of(_name_of(Subject.PAIR), history.rows(Subject.PAIR.table, document_key=key))
    return lines + _pairs_in_brief(history, pairs)


# -- their parts ----------------------------------------------------------------------------------


def first(rows: list[Row]) -> Row | None:
    """The first row; None where there is none."""
    return rows[0] if rows else None


def _name_of(subject: Subject) -> str:
    return STAGES.source_of(subject).name


def _status(row: Row | None) -> str:
    if row is None:
        return "pending"
    reasons = f": {', '.join(row['reasons'])}" if row["reasons"] else ""
    old = "" if row.get("in_force", True) else " (under an earlier recipe)"
    return f"{row['status']}{reasons}{old}"


def _why_no_row(*before: Row) -> str:
    return "not reached" if any(row["status"] == "rejected" for row in before) else "pending"


def _described(stage: Stage, row: Row) -> list[str]:
    return [line for name, value in stage.describe(row) for line in field(name, value, width=16)]


def _verdict_on_pair(accepted: bool, judged: list[tuple[Stage, Row | None]], document: Row) -> list[str]:
    if accepted:
        return ["accepted: it is in qa_pairs"]
    for stage, row in judged:
        if row is None:
            return [f"not in qa_pairs: pending at {stage.name}"]
        if row["status"] == "rejected":
            return [f"not in qa_pairs: rejected by {stage.name} ({', '.join(row['reasons'])})"]
    if not document["in_force"]:
        return ["not in qa_pairs: a newer text has replaced its document"]
    if not all(row["in_force"] for _, row in judged if row is not None):
        return ["not in qa_pairs: it was made or judged under an earlier recipe"]
    return ["not in qa_pairs: no run has published it yet, or an earlier stage has changed since"]


def _about_document(document: Row) -> list[str]:
    lines = heading("document")
    lines += field("key", document["document_key"])
    for name, column in (
        ("source", "source"),
        ("identifier", "source_id"),
        ("url", "url"),
        ("licence", "licence"),
        ("title", "title"),
        ("file", "path"),
    ):
        lines += field(name, document.get(column))
    return lines


def _document_verdicts(history: History, document: Row) -> list[str]:
    key = document["document_key"]
    read_by, *judges = STAGES.of(Subject.DOCUMENT)
    lines = heading("verdicts on the document")
    said = _status(document | {"in_force": True}) if "status" in document else "no row"
    lines += field(read_by.name, said + ("" if document["in_force"] else "; a newer text has replaced it"))
    before: Row | None = document
    for stage in judges:
        if stage.output is not Subject.DOCUMENT:
            continue  # What gives passages is told of with them.
        if before is None or before.get("status") != "kept":
            break
        before = first(history.verdicts(stage.name, document_key=key))
        lines += field(stage.name, _status(before))
        for name, value in stage.describe(before) if before is not None else ():
            lines += field(name, value)
    return lines


def _passage_row(history: History, key: str) -> Row:
    rows = history.verdicts(_name_of(Subject.PASSAGE), passage_key=key)
    return rows[0] if rows else {"passage_key": key, "document_key": "", "text": None}


def _about_passage(passage: Row) -> list[str]:
    where = ""
    if passage.get("ordinal") is not None:
        where = (
            f": number {passage['ordinal']}, characters {passage['start']} to {passage['end']}, "
            f"about {passage['tokens']} tokens"
        )
    lines = heading(f"passage{where}")
    lines += field("key", passage["passage_key"])
    lines += field("title", passage.get("title"))
    if passage.get("status") == "rejected":
        lines += field(_name_of(Subject.PASSAGE), _status(passage))
    return [*lines, "", *block(passage.get("text"), 4)]


def _asked_of_passage(history: History, passage: Row) -> list[tuple[Stage, Row]]:
    """The verdicts on a passage, where there are any."""
    found = []
    for stage in STAGES.of(Subject.PASSAGE):
        rows = history.verdicts(stage.name, passage_key=passage["passage_key"])
        if rows:
            found.append((stage, rows[0]))
    return found


def _about_asked(asked: list[tuple[Stage, Row]], answers: list[Answered]) -> list[str]:
    lines: list[str] = []
    seen: dict[str, str] = {}
    for (stage, row), answer in zip(asked, answers, strict=True):
        lines += heading(f"{stage.name}: {_status(row)}")
        lines += _described(stage, row)
        lines += exchange(row, answer, seen, stage.name)
    if not asked:
        lines += heading(f"{next(STAGES.of(Subject.PASSAGE)).name}: pending")
    return lines


def _gates(history: History, key: str, judged: list[tuple[Stage, Row | None]]) -> tuple[list[Row], list[str]]:
    """The gates' verdicts that the pair's check rests on, in their order; and gates that did not run."""
    stage, row = next(found for found in judged if GATE_VERDICTS in found[0].tables)
    recipe = row["recipe"] if row is not None else history.active.get(stage.name)
    body = history.body(recipe) or {"gates": [], "steps": []}
    found = history.rows(GATE_VERDICTS.name, pair_key=key)
    by_gate = {row["gate"]: row for row in found if row["recipe"] in body["steps"]}
    ran = [by_gate[gate] for gate in body["gates"] if gate in by_gate]
    return ran, [gate for gate in body["gates"] if gate not in by_gate]


def _about_gates(gates: list[Row], answers: list[Answered]) -> list[str]:
    lines: list[str] = []
    seen: dict[str, str] = {}
    for gate, answer in zip(gates, answers, strict=True):
        lines += _gate(gate)
        lines += exchange(gate, answer, seen, gate["gate"], indent=4)
    return lines


def _gate(row: Row) -> list[str]:
    said = "passed" if row["passed"] else f"failed: {row['reason']}"
    if row["score"] is not None:
        said += f"; score {number(row['score'])}"
    if row["detail"]:
        said += f"; saw: {row['detail']}"
    return field(row["gate"], said, width=21)


def _pairs_in_brief(history: History, pairs: list[Row]) -> list[str]:
    lines = heading(f"pairs: {len(pairs)}")
    shown = sorted(pairs, key=lambda row: (row["passage_key"], row["ordinal"]))[:MAX_PAIRS]
    keys = [row["pair_key"] for row in shown]
    made_by, *judges = (stage.name for stage in STAGES.of(Subject.PAIR))
    judged = {stage: history.of_keys(stage, "pair_key", keys) for stage in judges if keys}
    for row in shown:
        said = f"{made_by} {_status(row)}"
        for stage, rows in judged.items():
            if row["pair_key"] in rows:
                said += f"; {stage} {_status(rows[row['pair_key']])}"
        lines += field(short(row["pair_key"]), said, width=15)
        if row["question"]:
            lines += field("", f"Q: {clipped(row['question'], 300)}", width=15)
            lines += field("", f"A: {clipped(row['answer'], 300)}", width=15)
    if len(pairs) > len(shown):
        lines.append(f"  ... {len(pairs) - len(shown)} more, in the table pairs")
    return lines
