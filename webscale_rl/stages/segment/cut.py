"""Cutting a long text into passages: at paragraphs, then sentences, then lines, words, characters.

A passage never costs more than the budget, and the passages of a text, with nothing but whitespace
between them, are the whole text; each keeps the indentation of its first line. Of all ways to cut with the
fewest passages the one is taken whose passages are about equally long. Every step is linear in the length of
the text.

The cost of a text is its estimated number of tokens: characters divided by `chars_per_token`, and one
token for each character of a script without spaces between words (Chinese, Japanese, Thai ...), where
tokenisers take about one character at a time.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pyarrow as pa

from webscale_rl.text.language import UNSPACED_SCRIPTS
from webscale_rl.text.sentences import STOPS, WIDE_STOPS, sentences

_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")
_PARAGRAPH_GAP = re.compile(r"\n[^\S\n]*\n\s*")
_LINE_GAP = re.compile(r"\n\s*")
_WORD_GAP = re.compile(r"\s+")
_HEADING_CHARACTERS = 100
_OUTPUT_CHARACTERS = 4_000_000

Span = tuple[int, int]

PASSAGE_SCHEMA = pa.schema(
    [
        ("document_key", pa.string()),
        ("ordinal", pa.int32()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("tokens", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Budget:
    """How long a passage may be, in estimated tokens.

    `min_tokens` must be at most half of `max_tokens`, which must be at least 2.
    """

    max_tokens: int
    min_tokens: int
    chars_per_token: float

    def __post_init__(self) -> None:
        if self.max_tokens < 2 or not 0 <= self.min_tokens <= self.max_tokens // 2:
            raise ValueError("min_tokens must be between 0 and half of max_tokens, which is at least 2")
        if self.chars_per_token < 1:
            raise ValueError("chars_per_token must be at least 1")


class _Cost:
    """The cost of any span of one text, in constant or logarithmic time."""

    def __init__(self, text: str, chars_per_token: float) -> None:
        self._wide = array("q", (found.start() for found in _UNSPACED.finditer(text)))
        self._narrow = 1.0 / chars_per_token

    def of(self, start: int, end: int) -> float:
        wide = bisect_left(self._wide, end) - bisect_left(self._wide, start) if self._wide else 0
        return wide + (end - start - wide) * self._narrow


def passages(text: str, budget: Budget) -> list[tuple[int, int, int]]:
    """(start, end, tokens) of each passage, in order; empty for a text that is only whitespace.

    Offsets count characters (code points). No passage ends with whitespace, or begins with any but the
    indentation of a line.
    """
    trimmed = _trim(text, 0, len(text))
    if trimmed is None:
        return []
    whole = (_indented(text, 0, trimmed[0]), trimmed[1])
    cost = _Cost(text, budget.chars_per_token)
    if cost.of(*whole) <= budget.max_tokens:
        spans = [whole]
    else:
        paragraphs = _with_headings(text, _paragraphs(text, whole), cost, budget.max_tokens)
        atoms = [
            atom
            for paragraph in paragraphs
            for atom in _divide(text, paragraph, cost, budget.max_tokens, (_sentences, _lines))
        ]
        begins = frozenset(start for start, _ in paragraphs)
        spans = _pack(atoms, cost, budget.max_tokens, begins)
        spans = _without_small(text, spans, cost, budget)
    return [(start, end, math.ceil(cost.of(start, end))) for start, end in spans]


def passage_batches(batches: Iterable[pa.RecordBatch], *, budget: Budget) -> Iterator[pa.RecordBatch]:
    """Documents (document_key, title, text) in, passages (`PASSAGE_SCHEMA`) out, for mapInArrow.

    A document without text gives one row with null ordinal, text, offsets and tokens.
    """
    rows: list[dict[str, object]] = []
    held = 0
    for batch in batches:
        for row in batch.select(["document_key", "title", "text"]).to_pylist():
            text = row["text"] or ""
            shared = {"document_key": row["document_key"], "title": row["title"]}
            found = passages(text, budget)
            if not found:
                rows.append(shared)
            for ordinal, (start, end, tokens) in enumerate(found):
                piece = {"ordinal": ordinal, "start": start, "end": end, "tokens": tokens}
                rows.append({**shared, **piece, "text": text[start:end]})
            held += len(text)
            if held >= _OUTPUT_CHARACTERS:  # one long book after another must not pile up here
                yield pa.RecordBatch.from_pylist(rows, schema=PASSAGE_SCHEMA)
                rows, held = [], 0
        if rows:
            yield pa.RecordBatch.from_pylist(rows, schema=PASSAGE_SCHEMA)
            rows, held = [], 0


def passages_function(
    budget: Budget,
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """`passage_batches` with its budget, as one argument for mapInArrow."""
    return partial(passage_batches, budget=budget)


def _trim(text: str, start: int, end: int) -> Span | None:
    """The span without whitespace at its ends; None if nothing is left."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None


def _between(text: str, span: Span, gaps: Iterable[Span]) -> list[Span]:
    """The spans that the gaps leave of a span, trimmed but for indentation; empty ones left out."""
    found = []
    at = before = span[0]
    for gap_start, gap_end in [*gaps, (span[1], span[1])]:
        piece = _trim(text, at, gap_start)
        if piece:
            found.append((_indented(text, before, piece[0]), piece[1]))
            before = piece[1]
        at = gap_end
    return found


def _indented(text: str, lowest: int, start: int) -> int:
    """Where the line begins in whose first word a span begins, if only whitespace stands before that."""
    place = start
    while place > lowest and text[place - 1] != "\n" and text[place - 1].isspace():
        place -= 1
    return place if not place or text[place - 1] == "\n" else start


def _paragraphs(text: str, span: Span) -> list[Span]:
    return _between(text, span, (found.span() for found in _PARAGRAPH_GAP.finditer(text, *span)))


def _sentences(text: str, span: Span) -> list[Span]:
    found = [(span[0] + start, span[0] + end) for start, end in sentences(text[slice(*span)])]
    return _between(text, span, ((end, start) for (_, end), (start, _) in pairwise(found)))


def _lines(text: str, span: Span) -> list[Span]:
    return _between(text, span, (found.span() for found in _LINE_GAP.finditer(text, *span)))


def _divide(
    text: str,
    span: Span,
    cost: _Cost,
    limit: float,
    finer: tuple[Callable[[str, Span], list[Span]], ...],
) -> list[Span]:
    """The pieces that passages are made of, none over the limit.

    A span within the limit stays whole; else it falls into what the first of `finer` makes of it, and
    those over the limit into what the next makes of them, and at last into runs of words.
    """
    if cost.of(*span) <= limit:
        return [span]
    if not finer:
        return _chop(text, span, cost, limit)
    return [piece for part in finer[0](text, span) for piece in _divide(text, part, cost, limit, finer[1:])]


def _with_headings(text: str, paragraphs: list[Span], cost: _Cost, limit: float) -> list[Span]:
    """Paragraphs, a heading joined to the paragraph under it where both fit."""
    joined: list[Span] = []
    heading: Span | None = None
    for start, end in paragraphs:
        is_heading = end - start <= _HEADING_CHARACTERS and _looks_like_heading(text[start:end])
        if heading is not None:
            if not is_heading and cost.of(heading[0], end) <= limit:
                start = heading[0]
            else:
                joined.append(heading)
            heading = None
        if is_heading:
            heading = (start, end)
        else:
            joined.append((start, end))
    return [*joined, heading] if heading is not None else joined


def _looks_like_heading(paragraph: str) -> bool:
    return "\n" not in paragraph and paragraph[-1] not in f"{STOPS}{WIDE_STOPS},;:；："


def _chop(text: str, span: Span, cost: _Cost, limit: float) -> list[Span]:
    """Runs of words within the limit and about equally long; a single word over it is cut inside."""
    pieces = []
    for start, end in _words(text, span):
        first = _trim(text, start, end) or span
        if cost.of(start, first[0]) > limit / 4:
            start = first[0]  # so much white space is no indentation
        while cost.of(start, end) > limit:
            parts = math.ceil(cost.of(start, end) / limit)
            cut = _cut_inside(text, start, end, cost, min(limit, cost.of(start, end) / parts))
            cut = max(cut, first[0] + 1)
            pieces.append((start, cut))
            start = cut
        pieces.append((start, end))
    return _pack(pieces, cost, limit)


def _cut_inside(text: str, start: int, end: int, cost: _Cost, wanted: float) -> int:
    """The last place in a word that costs at most `wanted`, not in front of a joining character."""
    at = bisect_right(range(start + 1, end), wanted, key=lambda place: cost.of(start, place)) + start
    at = max(at, start + 1)
    for place in range(at, max(start, at - 16), -1):
        if not (
            unicodedata.combining(text[place])
            or "\u200d" in text[place - 1 : place + 1]
            or text[place] in "\ufe0e\ufe0f"
        ):
            return place
    return at


def _pack(atoms: list[Span], cost: _Cost, limit: float, begins: frozenset[int] = frozenset()) -> list[Span]:
    """Neighbouring atoms joined into the fewest spans within the limit, about equally long.

    A span may be a tenth of the limit further from that length to stop where a paragraph begins.
    """
    count = len(atoms)
    # Where the longest span that begins with an atom stops, and, from the end, how many spans the rest
    # of the text needs from there.
    reach = [0] * count
    stop = 0
    for first in range(count):
        stop = max(stop, first + 1)
        while stop < count and cost.of(atoms[first][0], atoms[stop][1]) <= limit:
            stop += 1
        reach[first] = stop
    needed = [0] * (count + 1)
    for first in reversed(range(count)):
        needed[first] = needed[reach[first]] + 1
    spans = []
    first = 0
    end = atoms[-1][1] if atoms else 0
    while first < count:
        target = cost.of(atoms[first][0], end) / needed[first]
        best, best_off = reach[first], math.inf
        # Only stops that need no more spans than the furthest one; they lie side by side before it.
        for stop in range(reach[first], first, -1):
            if needed[stop] >= needed[first]:
                break
            off = abs(cost.of(atoms[first][0], atoms[stop - 1][1]) - target)
            if stop < count and atoms[stop][0] not in begins:
                off += limit / 10
            if off < best_off:
                best, best_off = stop, off
        spans.append((atoms[first][0], atoms[best - 1][1]))
        first = best
    return spans


def _without_small(text: str, spans: list[Span], cost: _Cost, budget: Budget) -> list[Span]:
    """The spans, each of less than `min_tokens` joined to a neighbour or evened out with it.

    The neighbour is the one before for the last span, else the one that makes the shorter whole. Where
    both together are over the budget they are cut anew near their middle, at the coarsest border that
    leaves both halves within the bounds.
    """
    done: list[Span] = []
    waiting = list(reversed(spans))
    while waiting:
        span = waiting.pop()
        if cost.of(*span) >= budget.min_tokens or not (done or waiting):
            done.append(span)
            continue
        takes_next = bool(waiting) and (
            not done or cost.of(span[0], waiting[-1][1]) <= cost.of(done[-1][0], span[1])
        )
        joined = (span[0], waiting.pop()[1]) if takes_next else (done.pop()[0], span[1])
        if cost.of(*joined) <= budget.max_tokens:
            waiting.append(joined)
        else:
            done.extend(_halve(text, joined, cost, budget))
    return done


def _halve(text: str, span: Span, cost: _Cost, budget: Budget) -> list[Span]:
    """A span of at most twice the budget in two, at the border nearest its middle.

    The coarsest border counts that leaves both halves within the bounds; else a border between words
    that leaves them within the budget; a word is cut only where there is none.
    """
    attempts = [(part, budget.min_tokens) for part in (_paragraphs, _sentences, _lines, _words)]
    for part, lowest in [*attempts, (_words, 0)]:
        pieces = part(text, span)
        halves = [((span[0], before[1]), (after[0], span[1])) for before, after in pairwise(pieces)]
        costs = [(cost.of(*first), cost.of(*second)) for first, second in halves]
        fitting = [
            (abs(first - second), halves[at])
            for at, (first, second) in enumerate(costs)
            if lowest <= min(first, second) and max(first, second) <= budget.max_tokens
        ]
        if fitting:
            return list(min(fitting)[1])
    cut = _cut_inside(text, span[0], span[1], cost, cost.of(*span) / 2)
    first, second = _trim(text, span[0], cut), _trim(text, cut, span[1])
    return [*([(span[0], first[1])] if first else []), *([second] if second else [])]


def _words(text: str, span: Span) -> list[Span]:
    return _between(text, span, (found.span() for found in _WORD_GAP.finditer(text, *span)))
