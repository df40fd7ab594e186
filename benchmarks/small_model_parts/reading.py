"""Blind reading: pairs shuffled with spoiled controls, two readers apart, agreement and intervals."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.make_examples import Passage


def write_items(
    pairs: Sequence[dict[str, Any]], controls: Sequence[dict[str, Any]], out: Path, seed: int
) -> None:
    """Items to read (OUT.items.jsonl: number, title, passage, question, answer) and what they are
    (OUT.key.jsonl: number, kind and whatever else is known), shuffled.
    """
    items = [dict(pair) for pair in (*pairs, *controls)]
    random.Random(seed).shuffle(items)  # noqa: S311 - nothing secret
    shown = ("title", "passage", "question", "answer")
    with (
        out.with_suffix(".items.jsonl").open("w", encoding="utf-8") as read,
        out.with_suffix(".key.jsonl").open("w", encoding="utf-8") as key,
    ):
        for number, item in enumerate(items, 1):
            visible = {"number": number} | {name: item[name] for name in shown}
            read.write(json.dumps(visible, ensure_ascii=False) + "\n")
            hidden = {"number": number} | {k: v for k, v in item.items() if k not in shown}
            key.write(json.dumps(hidden, ensure_ascii=False) + "\n")


def controls(passages: Sequence[Passage], count: int, seed: int) -> list[dict[str, Any]]:
    """Spoiled pairs of the test set, to see whether readers are awake."""
    spoiled = [
        {"title": p.title, "passage": p.text, "question": q, "answer": a, "kind": "control", "fault": fault}
        for p in passages
        for fault, q, a in p.spoiled
    ]
    return random.Random(seed).sample(spoiled, min(count, len(spoiled)))  # noqa: S311 - nothing secret


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def interval(hits: float, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a share (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    share = hits / of
    middle = share + z * z / (2 * of)
    width = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - width) / (1 + z * z / of), (middle + width) / (1 + z * z / of)


def kappa(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Agreement beyond chance (Cohen, 1960)."""
    n = len(first)
    same = sum(a == b for a, b in zip(first, second, strict=True)) / n
    one, two = sum(first) / n, sum(second) / n
    chance = one * two + (1 - one) * (1 - two)
    return 1.0 if chance == 1 else (same - chance) / (1 - chance)
