"""Corpora made for one question each: skewed ones, and pairs of exactly the threshold's similarity."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from dedup_parts import corpus

Row = tuple[str, str]


def near_identical(folder: Path, texts: Path, pages: int, documents: int, seed: int) -> None:
    """``pages`` copies of one page, each with words of its own in two places, among ``documents`` in all;
    the others are real and distinct.
    """
    chance = random.Random(seed)  # noqa: S311
    bases = corpus.base_documents(texts, chance)
    page = " ".join(" ".join(bases[0] + bases[1]).split(" ")[:450])
    words = page.split(" ")
    rows = []
    for number in range(pages):
        own = list(words)
        own[60] = f"visitor{number}"
        own[300] = f"ticket{chance.randrange(10**9)}"
        rows.append(" ".join(own))
    rows += ["\n\n".join(base) for base in bases[2 : 2 + documents - pages]]
    chance.shuffle(rows)
    corpus.write_rows(folder, [(f"d{n:08d}", text) for n, text in enumerate(rows)])


def template(folder: Path, texts: Path, documents: int, seed: int) -> None:
    """Every second document has one template of 200 words around 160 words of its own, so that two of
    them have a similarity of about 0.36: no duplicates, but often in one band.
    """
    chance = random.Random(seed)  # noqa: S311
    own = corpus.recombined_documents(texts, chance)
    frame = " ".join(next(own) + next(own)).split(" ")[:200]

    def rows() -> Iterator[Row]:
        for n in range(documents):
            text = "\n\n".join(next(own))
            if n % 2:
                middle = text.split()[:160]
                text = " ".join([*frame[:120], *middle, *frame[120:]])
            yield f"d{n:08d}", text

    corpus.write_rows(folder, list(rows()))


def pairs_at_threshold(folder: Path, texts: Path, pairs: int, seed: int) -> None:
    """Pairs whose sets of word 5-grams have a Jaccard similarity of exactly 0.8 and nothing in common with
    any other pair's: a common beginning of 8 t shingles, then t of each one's own (t from 4 to 40).

    The documents of pair n have the numbers 2 n and 2 n + 1.
    """
    chance = random.Random(seed)  # noqa: S311
    letters = "abcdefghijklmnopqrstuvwxyz"

    def words(count: int) -> list[str]:
        return ["".join(chance.choices(letters, k=9)) for _ in range(count)]

    rows: list[Row] = []
    for n in range(pairs):
        tail = chance.randint(4, 40)
        common = words(8 * tail + 4)
        for side in range(2):
            rows.append((f"d{2 * n + side:08d}", " ".join(common + words(tail))))
    corpus.write_rows(folder, rows)
