"""Which documents are near duplicates, computed exactly: every pair of word 5-gram sets with a Jaccard
similarity of at least the threshold.

An all-pairs set join with prefix filtering: the shingles of a document are put in order from the rarest to
the commonest one of the corpus; two sets that are similar enough must share one of the first
``size - ceil(threshold * size) + 1`` of them. Candidates are then compared in full, in whole numbers. Nothing
of it is shared with what is measured: tokens, hashes and the join are this file's own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

SHINGLE = 5
# Four fifths: thresholds are whole-number ratios, so that exactly 0.8 counts as 0.8.
THRESHOLD = (4, 5)
_WORD = re.compile(r"[^\W_]+")
_WORD_HASHES: dict[str, int] = {}


@dataclass(frozen=True)
class Sets:
    """Shingle sets of documents: those of number ``n`` are ``shingles[starts[n]:starts[n + 1]]``, sorted."""

    ids: list[str]
    shingles: NDArray[np.uint64]
    starts: NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of document numbers with the size of their sets' intersection and union."""

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    common: NDArray[np.int32]
    union: NDArray[np.int32]

    @property
    def similarity(self) -> NDArray[np.float64]:
        """Their Jaccard similarity."""
        return self.common / self.union


def read_texts(folder: Path) -> Iterator[tuple[list[str], list[str]]]:
    """(ids, texts) of a corpus, a few thousand at a time."""
    for path in sorted((folder / "documents").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(2000, columns=["id", "text"]):
            yield batch.column(0).to_pylist(), batch.column(1).to_pylist()


def shingle_sets(texts: Iterable[tuple[list[str], list[str]]]) -> Sets:
    """The sorted, distinct 64-bit hashes of every document's word 5-grams.

    Words are runs of letters and digits in lower case. A document of fewer than five words has one
    shingle, all its words; one without words has none.
    """
    ids: list[str] = []
    parts: list[NDArray[np.uint64]] = []
    sizes: list[int] = []
    for some_ids, some_texts in texts:
        ids += some_ids
        words = [[_word_hash(word) for word in _WORD.findall(text.lower())] for text in some_texts]
        starts = np.zeros(len(words) + 1, np.int64)
        np.cumsum([len(hashes) for hashes in words], out=starts[1:])
        flat = np.fromiter((value for hashes in words for value in hashes), np.uint64, int(starts[-1]))
        shingles, counts = _shingles(flat, starts, SHINGLE)
        parts.append(shingles)
        sizes += counts.tolist()
    ends = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    return Sets(ids, np.concatenate(parts) if parts else np.zeros(0, np.uint64), ends)


def similar_pairs(sets: Sets, threshold: tuple[int, int] = THRESHOLD) -> Pairs:
    """All pairs of documents whose Jaccard similarity is at least the threshold."""
    _, inverse, counts = np.unique(sets.shingles, return_inverse=True, return_counts=True)
    rank_of = np.empty(len(counts), np.int32)
    rank_of[np.argsort(counts, kind="stable")] = np.arange(len(counts), dtype=np.int32)
    ranks = rank_of[inverse]
    del inverse
    sizes = np.diff(sets.starts)
    _sort_each(ranks, sets.starts)
    order = np.argsort(sizes, kind="stable")
    left, right, common = _join(ranks, sets.starts, order, len(counts), *threshold)
    union = (sizes[left] + sizes[right] - common).astype(np.int32)
    return Pairs(left, right, common, union)


def clusters(documents: int, pairs: Pairs) -> NDArray[np.int32]:
    """Each document's cluster: the smallest number that it is connected with by pairs."""
    return components(documents, pairs.left, pairs.right)


@numba.njit(cache=True)
def components(documents, left, right):
    """The smallest number of each document's connected component."""
    parent = np.arange(documents).astype(np.int32)
    for k in range(len(left)):
        a, b = left[k], right[k]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        elif b < a:
            parent[a] = b
    for n in range(documents):
        root = n
        while parent[root] != root:
            root = parent[root]
        parent[n] = root
    return parent


def nearest(texts: Iterable[tuple[list[str], list[str]]], sample: Sets) -> NDArray[np.float64]:
    """For each document of the sample, the highest similarity to any other document of the texts (exact:
    every document is compared with every one of the sample by its whole set).
    """
    values, inverse = np.unique(sample.shingles, return_inverse=True)
    owners = np.repeat(np.arange(len(sample.ids), dtype=np.int32), np.diff(sample.starts))
    order = np.argsort(inverse, kind="stable")
    owners = owners[order]
    starts = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.bincount(inverse, minlength=len(values)), out=starts[1:])
    number = {identifier: n for n, identifier in enumerate(sample.ids)}
    best = np.zeros(len(sample.ids))
    for some_ids, some_texts in texts:
        some = shingle_sets([(some_ids, some_texts)])
        themselves = np.array([number.get(identifier, -1) for identifier in some_ids], np.int32)
        _nearest(some.shingles, some.starts, themselves, values, owners, starts, np.diff(sample.starts), best)
    return best


def _word_hash(word: str) -> int:
    known = _WORD_HASHES.get(word)
    if known is None:
        known = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        _WORD_HASHES[word] = known
    return known


@numba.njit(cache=True)
def _mix(value):
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return value ^ (value >> np.uint64(32))


@numba.njit(cache=True)
def _shingles(words, starts, length):
    found = np.empty(len(words), np.uint64)
    counts = np.zeros(len(starts) - 1, np.int64)
    filled = 0
    for n in range(len(starts) - 1):
        first, last = starts[n], starts[n + 1]
        total = last - first
        if total == 0:
            continue
        width = min(length, total)
        own = np.empty(total - width + 1, np.uint64)
        for k in range(total - width + 1):
            value = np.uint64(width)
            for j in range(width):
                value = _mix(value * np.uint64(0x9E3779B97F4A7C15) + words[first + k + j])
            own[k] = value
        own.sort()
        begin = filled
        for k in range(len(own)):
            if k == 0 or own[k] != own[k - 1]:
                found[filled] = own[k]
                filled += 1
        counts[n] = filled - begin
    return found[:filled].copy(), counts


@numba.njit(cache=True)
def _sort_each(values, starts):
    for n in range(len(starts) - 1):
        values[starts[n] : starts[n + 1]].sort()


@numba.njit(cache=True)
def _prefix(size, numerator, denominator):
    """How many of the rarest shingles must be looked at."""
    return size - (numerator * size + denominator - 1) // denominator + 1


@numba.njit(cache=True)
def _join(ranks, starts, order, distinct, numerator, denominator):
    documents = len(starts) - 1
    places = np.zeros(distinct + 1, np.int64)
    for n in range(documents):
        size = starts[n + 1] - starts[n]
        if size:
            for k in range(starts[n], starts[n] + _prefix(size, numerator, denominator)):
                places[ranks[k] + 1] += 1
    for rank in range(distinct):
        places[rank + 1] += places[rank]
    postings = np.empty(places[distinct], np.int32)
    first = places[:distinct].copy()  # of each list, the first entry that is still large enough
    end = places[:distinct].copy()
    seen = np.full(documents, -1, np.int32)
    candidates = np.empty(documents, np.int32)
    left, right = np.empty(1 << 16, np.int32), np.empty(1 << 16, np.int32)
    common = np.empty(1 << 16, np.int32)
    found = 0
    for x in order:
        begin, size = starts[x], starts[x + 1] - starts[x]
        if size == 0:
            continue
        prefix = _prefix(size, numerator, denominator)
        count = 0
        for k in range(begin, begin + prefix):
            rank = ranks[k]
            at = first[rank]
            while at < end[rank]:
                y = postings[at]
                if denominator * (starts[y + 1] - starts[y]) >= numerator * size:
                    break
                at += 1
            first[rank] = at
            for place in range(at, end[rank]):
                y = postings[place]
                if seen[y] != x:
                    seen[y] = x
                    candidates[count] = y
                    count += 1
            postings[end[rank]] = x
            end[rank] += 1
        for c in range(count):
            y = candidates[c]
            total = size + starts[y + 1] - starts[y]
            # common / (total - common) >= numerator / denominator
            needed = (numerator * total + numerator + denominator - 1) // (numerator + denominator)
            same = _overlap(ranks, begin, starts[x + 1], starts[y], starts[y + 1], needed)
            if same >= needed:
                if found == len(left):
                    left = np.concatenate((left, np.empty(found, np.int32)))
                    right = np.concatenate((right, np.empty(found, np.int32)))
                    common = np.concatenate((common, np.empty(found, np.int32)))
                left[found], right[found], common[found] = min(x, y), max(x, y), same
                found += 1
    return left[:found].copy(), right[:found].copy(), common[:found].copy()


@numba.njit(cache=True)
def _overlap(ranks, i, i_end, j, j_end, needed):
    same = 0
    while i < i_end and j < j_end:
        if same + min(i_end - i, j_end - j) < needed:
            return 0
        if ranks[i] == ranks[j]:
            same += 1
            i += 1
            j += 1
        elif ranks[i] < ranks[j]:
            i += 1
        else:
            j += 1
    return same


@numba.njit(cache=True)
def _nearest(shingles, starts, themselves, values, owners, owner_starts, sizes, best):
    counts = np.zeros(len(sizes), np.int64)
    touched = np.empty(len(sizes), np.int32)
    for n in range(len(starts) - 1):
        filled = 0
        for k in range(starts[n], starts[n + 1]):
            place = np.searchsorted(values, shingles[k])
            if place == len(values) or values[place] != shingles[k]:
                continue
            for at in range(owner_starts[place], owner_starts[place + 1]):
                owner = owners[at]
                if counts[owner] == 0:
                    touched[filled] = owner
                    filled += 1
                counts[owner] += 1
        size = starts[n + 1] - starts[n]
        for k in range(filled):
            owner = touched[k]
            if owner != themselves[n]:
                best[owner] = max(best[owner], counts[owner] / (size + sizes[owner] - counts[owner]))
            counts[owner] = 0
