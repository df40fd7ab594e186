"""One row's whole life as text, from the source to the verdicts, with every prompt and raw reply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webscale_rl.report.exchange import exchange
from webscale_rl.report.history import Answered, History, Row, resolve
from webscale_rl.report.layout import block, clipped, field, heading, joined, number, numbers, short

if TYPE_CHECKING:
    from webscale_rl.pipeline import Pipeline

DOCUMENT_CHARS = 3000
MOST_PASSAGES = 20
MOST_PAIRS = 60


def show(pipeline: Pipeline, key: str) -> str:
    """Everything that the warehouse knows of a pair, a passage or a document.

    Args:
        key: the key, or a beginning that no other has.

    Returns:
        Readable text, wrapped to about 100 columns.

    Raises:
        UserError: no key begins so, or several do.
    """
    warehouse = pipeline.open()
    kind, full = resolve(warehouse, key)
    history = History(warehouse)
    make = {"pair": _pair, "passage": _passage, "document": _document}[kind]
    return joined(make(history, full))


# -- the three kinds ------------------------------------------------------------------------------


def _pair(history: History, key: str) -> list[str]:
    pair = history.verdicts("generate", pair_key=key)[0]
    passage = _passage_row(history, pair["passage_key"])
    checked = history.verdicts("check", pair_key=key)
    clean = history.verdicts("decontaminate", pair_key=key)
    document = history.document(pair["document_key"])
    gates, not_run = _gates(history, key, checked)
    asked = _asked_of_passage(history, passage)
    subject = passage | {"passage": passage.get("text")} | pair
    stages = [(row, passage) for _, row in asked] + [(pair, subject)]
    answers = history.answered(stages + [(gate, subject) for gate in gates])
    accepted = history.is_accepted(key)
    lines = [f"pair {key}", *_verdict_on_pair(accepted, pair, checked, clean, document)]
    lines += _about_document(document)
    lines += _document_verdicts(history, document)
    lines += _about_passage(passage)
    lines += _about_asked(asked, answers[: len(asked)])
    lines += heading(f"generate: {_status(pair)}")
    lines += _pair_fields(pair)
    lines += exchange(pair, answers[len(asked)])
    lines += heading(f"check: {_status(checked[0]) if checked else _why_no_row(pair)}")
    seen: dict[str, str] = {}
    for gate, answer in zip(gates, answers[len(asked) + 1 :], strict=True):
        lines += _gate(gate)
        lines += exchange(gate, answer, seen, gate["gate"], indent=4)
    lines += [f"  {name:<20} did not run" for name in not_run if pair["status"] == "kept"]
    lines += heading(f"decontaminate: {_status(clean[0]) if clean else _why_no_row(*checked[:1], pair)}")
    if clean and clean[0]["benchmark"] is not None:
        near = clean[0]
        lines += field("nearest item", f"{near['benchmark']} / {near['item']}")
        lines += field("overlap", number(near["overlap"]))
    return lines


def _passage(history: History, key: str) -> list[str]:
    passage = _passage_row(history, key)
    document = history.document(passage["document_key"])
    asked = _asked_of_passage(history, passage)
    answers = history.answered([(row, passage) for _, row in asked])
    lines = [f"passage {key}", *_about_document(document), *_document_verdicts(history, document)]
    lines += _about_passage(passage)
    lines += _about_asked(asked, answers)
    pairs = history.current_of("generate", history.rows("pairs", passage_key=key))
    return lines + _pairs_in_brief(history, pairs)


def _document(history: History, key: str) -> list[str]:
    document = history.document(key)
    lines = [f"document {key}", *_about_document(document), *_document_verdicts(history, document)]
    text = document.get("text") or ""
    lines += heading(f"text: {len(text)} characters")
    lines += block(text[:DOCUMENT_CHARS], 2)
    if len(text) > DOCUMENT_CHARS:
        lines.append(f"  ... {len(text) - DOCUMENT_CHARS} more characters, in the table documents")
    passages = history.current_of("segment", history.rows("passages", document_key=key))
    screened = _by_passage(history.verdicts("screen", document_key=key))
    identified = _by_passage(history.verdicts("identify", document_key=key))
    lines += heading(f"passages: {len(passages)}")
    for row in sorted(passages, key=lambda row: row["ordinal"] or 0)[:MOST_PASSAGES]:
        name = short(row["passage_key"])
        if row["status"] == "rejected":
            lines += field(name, f"rejected: {', '.join(row['reasons'])}", width=15)
            continue
        said = [f"{row['tokens']} tokens", f"screen {_status(screened.get(row['passage_key']))}"]
        found = identified.get(row["passage_key"])
        if found is not None:
            said.append(f"identify {_status(found)}")
            said.append(f"{found['domain']} for {_names(found)}" if found["domain"] else "")
        lines += field(name, "; ".join(filter(None, said)), width=15)
    if len(passages) > MOST_PASSAGES:
        lines.append(f"  ... {len(passages) - MOST_PASSAGES} more, in the table passages")
    pairs = history.current_of("generate", history.rows("pairs", document_key=key))
    return lines + _pairs_in_brief(history, pairs)


# -- their parts ----------------------------------------------------------------------------------


def _status(row: Row | None) -> str:
    if row is None:
        return "pending"
    reasons = f": {', '.join(row['reasons'])}" if row["reasons"] else ""
    old = "" if row.get("in_force", True) else " (under an earlier recipe)"
    return f"{row['status']}{reasons}{old}"


def _why_no_row(*before: Row) -> str:
    return "not reached" if any(row["status"] == "rejected" for row in before) else "pending"


def _verdict_on_pair(
    accepted: bool,
    pair: Row,
    checked: list[Row],
    clean: list[Row],
    document: Row,
) -> list[str]:
    if accepted:
        return ["accepted: it stands in qa_pairs"]
    for stage, rows in (("generate", [pair]), ("check", checked), ("decontaminate", clean)):
        if not rows:
            return [f"not in qa_pairs: pending at {stage}"]
        if rows[0]["status"] == "rejected":
            return [f"not in qa_pairs: rejected by {stage} ({', '.join(rows[0]['reasons'])})"]
    if not document["in_force"]:
        return ["not in qa_pairs: a newer text has replaced its document"]
    if not all(rows[0]["in_force"] for rows in ([pair], checked, clean)):
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
    lines = heading("verdicts on the document")
    said = _status(document | {"in_force": True}) if "status" in document else "no row"
    lines += field("ingest", said + ("" if document["in_force"] else "; a newer text has replaced it"))
    if document.get("status") != "kept":
        return lines
    filtered = history.verdicts("filter", document_key=key)
    lines += field("filter", _status(filtered[0] if filtered else None))
    if filtered:
        lines += field("", numbers(filtered[0]["metrics"]))
        lines += field("", filtered[0]["language"] and f"language {filtered[0]['language']}")
    if filtered and filtered[0]["status"] == "kept":
        copies = history.verdicts("deduplicate", document_key=key)
        row = copies[0] if copies else None
        stands = ""
        if row is not None and row["representative_key"] not in (None, key):
            stands = f"; {short(row['representative_key'])} stands for it ({row['method']})"
        lines += field("deduplicate", _status(row) + stands)
    return lines


def _passage_row(history: History, key: str) -> Row:
    rows = history.verdicts("segment", passage_key=key)
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
        lines += field("segment", _status(passage))
    return [*lines, "", *block(passage.get("text"), 4)]


def _asked_of_passage(history: History, passage: Row) -> list[tuple[str, Row]]:
    """The rows of screen and identify, where there are any."""
    found = []
    for stage in ("screen", "identify"):
        rows = history.verdicts(stage, passage_key=passage["passage_key"])
        if rows:
            found.append((stage, rows[0]))
    return found


def _about_asked(asked: list[tuple[str, Row]], answers: list[Answered]) -> list[str]:
    lines: list[str] = []
    seen: dict[str, str] = {}
    for (stage, row), answer in zip(asked, answers, strict=True):
        lines += heading(f"{stage}: {_status(row)}")
        if stage == "screen":
            for name in ("informative", "self_contained", "answerable"):
                lines += field(name, None if row[name] is None else "yes" if row[name] else "no", width=16)
            lines += field("score", None if row["score"] is None else number(row["score"]), width=16)
            lines += field("comment", row["comment"], width=16)
        else:
            lines += field("domain", row["domain"], width=16)
            best = sorted((row["domain_scores"] or {}).items(), key=lambda item: -(item[1] or -1e9))
            lines += field("scores", ", ".join(f"{n} {number(v)}" for n, v in best), width=16)
            for persona in row["personas"] or []:
                lines += field("persona", f"{persona['name']}: {persona['interest']}", width=16)
        lines += exchange(row, answer, seen, stage)
    if not asked:
        lines += heading("screen: pending")
    return lines


def _pair_fields(pair: Row) -> list[str]:
    reader = f"{pair['persona']} ({pair['domain']}): {pair['interest']}"
    lines = field("reader", reader) + field("strategy", pair["strategy"])
    for name in ("question", "answer", "answer_type", "quotation"):
        lines += field(name.replace("_", " "), pair[name])
    return lines


def _gates(history: History, key: str, checked: list[Row]) -> tuple[list[Row], list[str]]:
    """The gates' verdicts that the pair's check rests on, in their order; and gates that did not run."""
    recipe = checked[0]["recipe"] if checked else history.active.get("check")
    body = history.body(recipe) or {"gates": [], "steps": []}
    rows = [row for row in history.rows("gate_verdicts", pair_key=key) if row["recipe"] in body["steps"]]
    by_gate = {row["gate"]: row for row in rows}
    ran = [by_gate[gate] for gate in body["gates"] if gate in by_gate]
    return ran, [gate for gate in body["gates"] if gate not in by_gate]


def _gate(row: Row) -> list[str]:
    said = "passed" if row["passed"] else f"failed: {row['reason']}"
    if row["score"] is not None:
        said += f"; score {number(row['score'])}"
    if row["detail"]:
        said += f"; saw: {row['detail']}"
    return field(row["gate"], said, width=21)


def _pairs_in_brief(history: History, pairs: list[Row]) -> list[str]:
    lines = heading(f"pairs: {len(pairs)}")
    shown = sorted(pairs, key=lambda row: (row["passage_key"], row["ordinal"]))[:MOST_PAIRS]
    keys = [row["pair_key"] for row in shown]
    judged = {stage: history.of_keys(stage, "pair_key", keys) for stage in ("check", "decontaminate") if keys}
    for row in shown:
        said = f"generate {_status(row)}"
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


def _by_passage(rows: list[Row]) -> dict[str, Row]:
    # The rows in force come first, and stay.
    return {row["passage_key"]: row for row in reversed(rows)}


def _names(row: Row) -> str:
    return ", ".join(persona["name"] for persona in row["personas"] or []) or "no reader"
