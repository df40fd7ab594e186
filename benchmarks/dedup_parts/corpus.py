"""Corpora of real English documents with planted near duplicates, as folders of Parquet files.

`standard` cuts the texts into documents of 1 to 4 KB, each paragraph used once. `recombined` makes more
documents than there is text for by putting paragraphs of different texts together anew; two of its
documents have at most a paragraph or so in common, and `similarity` (truth.py) shows how much.
One document in five is an edited copy of another one; plants.parquet says which, and how it was edited.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PLANTED_SHARE = 0.2
SHORTEST, LONGEST_TARGET = 1000, 3200
PARTS = 16
BLOCK = 10_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_BOILERPLATE = (
    "Skip to main content. Home, Products, Documentation, Community, Contact us.",
    "Copyright and licence notices are found at the end of this page. All rights reserved by their owners.",
    "This page was last updated on Thursday. Share this article with friends and subscribe to the letter.",
    "We use cookies to make this site work. By staying you accept them; read our privacy policy for more.",
    "Printed from the archive of the reading room; the layout may differ from that of the original page.",
    "Related articles: what to read next, ten things you did not know, and our editors' choice of the week.",
)

Document = list[str]
Edit = Callable[[Document, random.Random, list[str]], Document]


class TooLittleTextError(Exception):
    """The texts do not give so many documents."""


# -- edits -----------------------------------------------------------------------------------------------


def substituted(rate: float) -> Edit:
    """Each word is replaced by another one with probability ``rate`` (at least one word is)."""

    def edit(document: Document, chance: random.Random, words: list[str]) -> Document:
        parts = [paragraph.split(" ") for paragraph in document]
        places = [(i, j) for i, part in enumerate(parts) for j in range(len(part))]
        count = max(1, round(rate * len(places)))
        for i, j in chance.sample(places, count):
            parts[i][j] = chance.choice(words)
        return [" ".join(part) for part in parts]

    return edit


def sentence_deleted(document: Document, chance: random.Random, words: list[str]) -> Document:
    """One sentence less; of a document of one sentence, its last words."""
    places = [
        (i, j) for i, text in enumerate(document) for j in range(len(_SENTENCE.split(text))) if "." in text
    ]
    if len(places) < 2:
        return truncated(document, chance, words)
    i, j = chance.choice(places)
    sentences = _SENTENCE.split(document[i])
    rest = " ".join(sentences[:j] + sentences[j + 1 :])
    return [text for text in [*document[:i], rest, *document[i + 1 :]] if text]


def paragraphs_swapped(document: Document, chance: random.Random, words: list[str]) -> Document:
    """Two paragraphs change places."""
    if len(document) < 2:
        return sentence_deleted(document, chance, words)
    i, j = chance.sample(range(len(document)), 2)
    swapped = list(document)
    swapped[i], swapped[j] = swapped[j], swapped[i]
    return swapped


def framed(document: Document, chance: random.Random, words: list[str]) -> Document:
    """A header, a footer or both, as websites put around other people's text."""
    header, footer = chance.sample(_BOILERPLATE, 2)
    kind = chance.randrange(3)
    return ([header] if kind != 1 else []) + document + ([footer] if kind != 0 else [])


def restyled(document: Document, chance: random.Random, words: list[str]) -> Document:
    """Case and punctuation alone: every word stays."""
    style = chance.randrange(3)
    if style == 0:
        return [text.upper() if chance.random() < 0.3 else text for text in document[:-1]] + [
            document[-1].upper()
        ]
    if style == 1:
        return [text.replace(", ", " - ").replace(". ", " ... ") + " !" for text in document]
    return [" ".join(document).replace(" ", "  ").lower()]


def truncated(document: Document, chance: random.Random, words: list[str]) -> Document:
    """The last 3 to 25% of the words are gone."""
    total = sum(len(text.split(" ")) for text in document)
    left = round(total * (1 - chance.uniform(0.03, 0.25)))
    cut = []
    for text in document:
        tokens = text.split(" ")
        if left > 0:
            cut.append(" ".join(tokens[:left]))
        left -= len(tokens)
    return cut


def several(document: Document, chance: random.Random, words: list[str]) -> Document:
    """A frame, a few words and the style at once."""
    return restyled(substituted(0.005)(framed(document, chance, words), chance, words), chance, words)


EDITS: dict[str, Edit] = {
    "words 0.3%": substituted(0.003),
    "words 1%": substituted(0.01),
    "words 2%": substituted(0.02),
    "words 3%": substituted(0.03),
    "sentence deleted": sentence_deleted,
    "paragraphs swapped": paragraphs_swapped,
    "header or footer": framed,
    "case and punctuation": restyled,
    "end cut off": truncated,
    "several": several,
}


# -- documents -------------------------------------------------------------------------------------------


def base_documents(texts: Path, chance: random.Random) -> list[Document]:
    """Every paragraph once, in its order, cut at paragraph borders; a short page is joined with the
    next ones of its package.
    """
    documents: list[Document] = []
    current: Document = []
    size, target, source = 0, chance.uniform(SHORTEST, LONGEST_TARGET), None
    for batch in pq.ParquetFile(texts).iter_batches(columns=["source", "paragraph"]):
        for origin, paragraph in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if origin != source:
                current, size, source = [], 0, origin
            current.append(paragraph)
            size += len(paragraph) + 2
            if size >= target:
                documents.append(current)
                current, size, target = [], 0, chance.uniform(SHORTEST, LONGEST_TARGET)
    chance.shuffle(documents)
    return documents


def recombined_documents(texts: Path, chance: random.Random) -> Iterator[Document]:
    """Documents without end: the paragraphs in a random order, cut; then in another order, and so on."""
    paragraphs = pq.read_table(texts, columns=["paragraph"]).column(0).to_pylist()
    while True:
        chance.shuffle(paragraphs)
        current: Document = []
        size, target = 0, chance.uniform(SHORTEST, LONGEST_TARGET)
        for paragraph in paragraphs:
            current.append(paragraph)
            size += len(paragraph) + 2
            if size >= target:
                yield current
                current, size, target = [], 0, chance.uniform(SHORTEST, LONGEST_TARGET)


def planted(
    bases: list[Document], count: int, chance: random.Random, words: list[str]
) -> list[tuple[Document, int, str]]:
    """``count`` edited copies: (document, number of its original, kind of edit). Most originals get
    one copy, some several, and some copies are copied again (numbers from len(bases) on are copies).
    """
    copies: list[tuple[Document, int, str]] = []
    fresh = iter(chance.sample(range(len(bases)), min(count, len(bases))))
    kinds = list(EDITS)
    for _ in range(count):
        draw = chance.random()
        if copies and draw < 0.15:
            origin = len(bases) + chance.randrange(len(copies))
        elif copies and draw < 0.35:
            origin = copies[chance.randrange(len(copies))][1]
        else:
            origin = next(fresh)
        original = bases[origin] if origin < len(bases) else copies[origin - len(bases)][0]
        kind = chance.choice(kinds)
        copies.append((EDITS[kind](original, chance, words), origin, kind))
    return copies


def _vocabulary(documents: list[Document], chance: random.Random) -> list[str]:
    words: set[str] = set()
    for document in chance.sample(documents, min(2000, len(documents))):
        words.update(re.findall(r"[A-Za-z]{3,12}", document[0]))
    return sorted(words)


# -- writing ---------------------------------------------------------------------------------------------

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
PLANTS = pa.schema([("id", pa.string()), ("origin", pa.string()), ("kind", pa.string())])


def standard(folder: Path, texts: Path, documents: int, seed: int) -> None:
    """Write a corpus of real documents, a fifth of them planted copies.

    Raises:
        TooLittleTextError: the texts give fewer documents.
    """
    chance = random.Random(seed)  # noqa: S311
    copies = round(documents * PLANTED_SHARE)
    bases = base_documents(texts, chance)
    if len(bases) < documents - copies:
        most = int(len(bases) / (1 - PLANTED_SHARE))
        raise TooLittleTextError(
            f"the texts give {len(bases)} documents of 1 to 4 KB, enough for a corpus of {most}, "
            f"not of {documents}; --mode scaling recombines paragraphs instead"
        )
    _write(folder, [_block(bases[: documents - copies], copies, chance, 0)], PARTS)


def recombined(folder: Path, texts: Path, documents: int, seed: int) -> None:
    """Write a corpus of recombined paragraphs in blocks of 10,000 documents (8,000 new, 2,000 copies of
    them), so that a smaller one is the beginning of a larger one.
    """
    chance = random.Random(seed)  # noqa: S311
    copies = round(BLOCK * PLANTED_SHARE)
    new = recombined_documents(texts, chance)

    def blocks() -> Iterator[list[tuple[str, str, str | None, str | None]]]:
        for start in range(0, documents, BLOCK):
            bases = [next(new) for _ in range(BLOCK - copies)]
            yield _block(bases, copies, random.Random(f"{seed} {start}"), start)  # noqa: S311

    _write(folder, blocks(), None)


def _block(
    bases: list[Document], count: int, chance: random.Random, first: int
) -> list[tuple[str, str, str | None, str | None]]:
    """Rows (id, text, original's id, kind) in random order; the id tells nothing of who was copied."""
    copies = planted(bases, count, chance, _vocabulary(bases, chance))
    places = list(range(len(bases) + count))
    chance.shuffle(places)
    rows: list[tuple[str, str, str | None, str | None]] = [("", "", None, None)] * len(places)
    for number, base in enumerate(bases):
        rows[places[number]] = (_id(first + places[number]), "\n\n".join(base), None, None)
    for number, (copy, origin, kind) in enumerate(copies, len(bases)):
        place = places[number]
        rows[place] = (_id(first + place), "\n\n".join(copy), _id(first + places[origin]), kind)
    return rows


def _id(number: int) -> str:
    return f"d{number:08d}"


def write_rows(folder: Path, rows: list[tuple[str, str]]) -> None:
    """Write a corpus of ready texts, nothing planted."""
    _write(folder, [[(key, text, None, None) for key, text in rows]], PARTS)


def _write(folder: Path, blocks: Iterator | list, parts: int | None) -> None:
    """One file a block, or ``parts`` files of the only block."""
    unfinished = folder.with_name(folder.name + ".part")
    (unfinished / "documents").mkdir(parents=True, exist_ok=True)
    plants: list[tuple[str, str, str]] = []
    number = 0
    for block in blocks:
        plants += [(row[0], row[2], row[3]) for row in block if row[2]]
        step = -(-len(block) // (parts or 1))
        for start in range(0, len(block), step):
            piece = block[start : start + step]
            table = pa.table([[row[0] for row in piece], [row[1] for row in piece]], schema=SCHEMA)
            path = unfinished / "documents" / f"part-{number:05d}.parquet"
            pq.write_table(table, path, compression="zstd", row_group_size=2000)
            number += 1
    columns = [list(column) for column in zip(*plants, strict=True)] or [[], [], []]
    pq.write_table(pa.table(columns, schema=PLANTS), unfinished / "plants.parquet")
    unfinished.rename(folder)
