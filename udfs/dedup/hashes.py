"""Compiled kernels over UTF-8 bytes: tokens, shingle hashes, MinHash bands, exact Jaccard.

One pass over the bytes of an Arrow column; no Python object is made for a token. MinHash and its bands:
Broder 1997; Leskovec, Rajaraman and Ullman, *Mining of Massive Datasets*, section 3.4. A shingle is known by
a 64-bit hash, and the Jaccard similarity is exact on the sets of these hashes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from udfs.dedup.characters import IDEOGRAPHS_END, TABLE_SIZE
from udfs.dedup.compiled import kernel

# Another value means other band keys and other similarities: an index of another version is of no use.
KERNEL_VERSION = 1

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_ROLL = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_S33 = np.uint64(33)
_S32 = np.uint64(32)
_TABLE_SIZE = np.int64(TABLE_SIZE)
_IDEOGRAPHS_END = np.int64(IDEOGRAPHS_END)


@kernel
def _mix(value):  # type: ignore[no-untyped-def]
    # The finaliser of MurmurHash3 (64 bits).
    value ^= value >> _S33
    value *= _MIX1
    value ^= value >> _S33
    value *= _MIX2
    value ^= value >> _S33
    return value


@kernel
def token_hashes(data, start, end, table, out):  # type: ignore[no-untyped-def]
    """Hash the tokens of the UTF-8 bytes ``data[start:end]`` into ``out``; gives their number.

    Bytes that are no UTF-8 separate tokens. ``out`` needs room for
    ``(end - start) // 2 + 1`` hashes.
    """
    count = 0
    at = start
    running = False
    hashed = _FNV_OFFSET
    while at < end:
        byte = np.int64(data[at])
        if byte < 0x80:
            code = byte
            at += 1
        else:
            if byte >= 0xF0:
                length, code, least = 4, byte & 0x07, np.int64(0x10000)
            elif byte >= 0xE0:
                length, code, least = 3, byte & 0x0F, np.int64(0x800)
            elif byte >= 0xC0:
                length, code, least = 2, byte & 0x1F, np.int64(0x80)
            else:
                length, code, least = 1, np.int64(0), np.int64(0)
            if at + length > end:
                length, code = 1, np.int64(0)
            for more in range(1, length):
                follower = np.int64(data[at + more])
                if follower & 0xC0 != 0x80:
                    length, code = 1, np.int64(0)
                    break
                code = (code << 6) | (follower & 0x3F)
            if length > 1 and code < least:
                length, code = 1, np.int64(0)
            at += length
        if code < _TABLE_SIZE:
            kind = np.int64(table[code])
        elif code < _IDEOGRAPHS_END:
            kind = -code
        else:
            kind = np.int64(0)
        if kind > 0:
            if not running:
                running = True
                hashed = _FNV_OFFSET
            hashed = (hashed ^ np.uint64(kind)) * _FNV_PRIME
        else:
            if running:
                out[count] = _mix(hashed)
                count += 1
                running = False
            if kind < 0:
                out[count] = _mix((_FNV_OFFSET ^ np.uint64(-kind)) * _FNV_PRIME)
                count += 1
    if running:
        out[count] = _mix(hashed)
        count += 1
    return count


@kernel
def shingle_hashes(tokens, count, size, out):  # type: ignore[no-untyped-def]
    """Hash each run of ``size`` tokens into ``out``; gives their number (0 for fewer tokens than that)."""
    if count < size:
        return 0
    power = np.uint64(1)
    for _ in range(size):
        power *= _ROLL
    rolling = np.uint64(0)
    for i in range(size):
        rolling = rolling * _ROLL + tokens[i]
    out[0] = _mix(rolling)
    for i in range(size, count):
        rolling = rolling * _ROLL + tokens[i] - tokens[i - size] * power
        out[i - size + 1] = _mix(rolling)
    return count - size + 1


@kernel
def _room(offsets):  # type: ignore[no-untyped-def]
    """Room for the token hashes and the shingle hashes of the longest document."""
    longest = 0
    for d in range(len(offsets) - 1):
        longest = max(longest, offsets[d + 1] - offsets[d])
    # A token of one byte is followed by a separator; tokens without one have three bytes.
    most = longest // 2 + 1
    return np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.uint64)


@kernel
def band_hashes(data, offsets, table, size, multipliers, addends, bands, rows):  # type: ignore[no-untyped-def]
    """The LSH band hashes of each document.

    Args:
        data: uint8, the bytes of all documents; ``offsets`` (one more than documents) says where each begins.
        table: `characters.character_table`.
        size: tokens of a shingle.
        multipliers, addends: uint32, ``bands * rows`` of each (multipliers odd): the permutations.

    Returns:
        uint32 (documents, bands), and per document whether it has any shingle (else its row says nothing).
    """
    documents = len(offsets) - 1
    tokens, shingles = _room(offsets)
    permutations = bands * rows
    minima = np.empty(permutations, dtype=np.uint32)
    out = np.zeros((documents, bands), dtype=np.uint32)
    has = np.zeros(documents, dtype=np.bool_)
    for d in range(documents):
        count = token_hashes(data, offsets[d], offsets[d + 1], table, tokens)
        count = shingle_hashes(tokens, count, size, shingles)
        if count == 0:
            continue
        has[d] = True
        minima[:] = np.uint32(0xFFFFFFFF)
        for s in range(count):
            short = np.uint32(shingles[s] >> _S32)
            for p in range(permutations):
                value = np.uint32(np.uint32(multipliers[p] * short) + addends[p])
                minima[p] = min(minima[p], value)
        for band in range(bands):
            hashed = np.uint64(band)
            for row in range(rows):
                hashed = _mix(hashed * _ROLL + np.uint64(minima[band * rows + row]))
            out[d, band] = np.uint32(hashed >> _S32)
    return out, has


def shingle_sets(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], table: NDArray[np.int32], size: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The sorted distinct shingle hashes of each document, one behind the other.

    Returns:
        uint64 hashes, and int64 bounds (one more than documents).
    """
    hashes, bounds = _shingle_lists(data, offsets, table, size)
    # NumPy sorts numbers with vector instructions, several times faster than compiled loops do.
    for document in range(len(offsets) - 1):
        hashes[bounds[document] : bounds[document + 1]].sort()
    return _distinct(hashes, bounds)


@kernel
def _shingle_lists(data, offsets, table, size):  # type: ignore[no-untyped-def]
    documents = len(offsets) - 1
    tokens, shingles = _room(offsets)
    out = np.empty((offsets[documents] - offsets[0]) // 2 + documents + 1, dtype=np.uint64)
    bounds = np.zeros(documents + 1, dtype=np.int64)
    end = 0
    for d in range(documents):
        count = token_hashes(data, offsets[d], offsets[d + 1], table, tokens)
        count = shingle_hashes(tokens, count, size, shingles)
        out[end : end + count] = shingles[:count]
        end += count
        bounds[d + 1] = end
    return out[:end].copy(), bounds


@kernel
def _distinct(hashes, bounds):  # type: ignore[no-untyped-def]
    """Sorted lists without what they have more than once."""
    places = np.zeros(len(bounds), dtype=np.int64)
    end = 0
    for d in range(len(bounds) - 1):
        for i in range(bounds[d], bounds[d + 1]):
            if i == bounds[d] or hashes[i] != hashes[i - 1]:
                hashes[end] = hashes[i]
                end += 1
        places[d + 1] = end
    return hashes[:end], places


@kernel
def jaccard(sets, bounds, left, right, least):  # type: ignore[no-untyped-def]
    """The Jaccard similarity of pairs of sorted sets; -1 where it is below ``least``.

    Args:
        sets, bounds: as `shingle_sets` gives them.
        left, right: positions of the documents of each pair; -1 for one that is not there.
    """
    out = np.full(len(left), -1.0)
    for pair in range(len(left)):
        a, b = left[pair], right[pair]
        if a < 0 or b < 0:
            continue
        i, j = bounds[a], bounds[b]
        end_i, end_j = bounds[a + 1], bounds[b + 1]
        smaller, larger = min(end_i - i, end_j - j), max(end_i - i, end_j - j)
        if smaller == 0 or smaller < least * larger:
            continue
        common = 0
        total = end_i - i + end_j - j
        # What may still be missed before the similarity falls below the least.
        needed = np.int64(np.ceil(least * total / (1.0 + least) - 1e-9))
        spare = smaller - needed
        missed = 0
        small_is_i = end_i - i == smaller
        while i < end_i and j < end_j:
            if sets[i] == sets[j]:
                common += 1
                i += 1
                j += 1
            elif sets[i] < sets[j]:
                i += 1
                if small_is_i:
                    missed += 1
            else:
                j += 1
                if not small_is_i:
                    missed += 1
            if missed > spare:
                break
        similarity = common / (total - common)
        if missed <= spare and similarity >= least:
            out[pair] = similarity
    return out


def permutations(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The odd multipliers and the addends of ``count`` permutations, always the same (SplitMix64)."""
    state, drawn = 0x5EED, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        value = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
        drawn.append(value ^ (value >> 31))
    values = np.array(drawn, dtype=np.uint64)
    return (values >> np.uint64(32)).astype(np.uint32) | np.uint32(1), values.astype(np.uint32)
