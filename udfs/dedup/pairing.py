"""Compiled kernels over numbers: which documents share a band key, and what hangs together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from udfs.dedup.compiled import kernel


@kernel
def components(left, right, nodes):  # type: ignore[no-untyped-def]
    """Connected components of pairs of node numbers; each node's smallest fellow.

    Union by the smaller root with path halving, so a component's root is its smallest node.
    """
    parent = np.arange(nodes)
    for pair in range(len(left)):
        a, b = left[pair], right[pair]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b
    for node in range(nodes):
        parent[node] = parent[parent[node]]
    return parent


@kernel
def positions(groups, ids, wanted_groups, wanted_ids):  # type: ignore[no-untyped-def]
    """Where each wanted (group, id) stands among sorted ones; -1 where it does not, or stands twice."""
    n = len(groups)
    out = np.full(len(wanted_ids), -1)
    for w in range(len(wanted_ids)):
        group, id_ = wanted_groups[w], wanted_ids[w]
        low, high = 0, n
        while low < high:
            middle = (low + high) // 2
            if groups[middle] < group or (groups[middle] == group and ids[middle] < id_):
                low = middle + 1
            else:
                high = middle
        if low < n and groups[low] == group and ids[low] == id_:
            again = low + 1 < n and groups[low + 1] == group and ids[low + 1] == id_
            if not again:
                out[w] = low
    return out


@kernel
def bucket_pairs(keys, ids, fresh, largest, representatives):  # type: ignore[no-untyped-def]
    """Pairs of documents that share a key, at least one of them fresh.

    A bucket of at most ``largest`` documents gives all such pairs. In a larger one each document is paired
    with the first ``representatives`` and with the one before it, so that work stays linear in the bucket.

    Args:
        keys: sorted; ids int64 and fresh bool, in the order in which representatives are taken.

    Returns:
        int64 (pairs, 2); the number of buckets of two or more documents, and the largest one's size.
    """
    total, buckets, biggest = 0, 0, 0
    n = len(keys)
    out = np.empty((0, 2), dtype=np.int64)
    for turn in range(2):
        if turn == 1:
            out = np.empty((total, 2), dtype=np.int64)
        at, start = 0, 0
        while start < n:
            end = start + 1
            while end < n and keys[end] == keys[start]:
                end += 1
            size = end - start
            if size > 1 and turn == 0:
                buckets += 1
                biggest = max(biggest, size)
            for j in range(start + 1, end):
                last = j if size <= largest else min(j, start + representatives)
                for i in range(start, last):
                    if fresh[i] or fresh[j]:
                        if turn == 1:
                            out[at, 0] = ids[i]
                            out[at, 1] = ids[j]
                        at += 1
                if last < j and (fresh[j - 1] or fresh[j]):
                    if turn == 1:
                        out[at, 0] = ids[j - 1]
                        out[at, 1] = ids[j]
                    at += 1
            start = end
        total = at
    return out, buckets, biggest


@kernel
def scatter(keys, ids, wanted, partitions):  # type: ignore[no-untyped-def]
    """Band keys in the order of their partitions, and of the bands within them.

    Bands begin at different partitions, so that a few partitions are filled evenly.

    Args:
        keys: uint32 (documents, bands); ids: int64; wanted: bool of the keys' shape, which ones are taken.

    Returns:
        int64 (partitions, bands) counts; the hashes and their ids in that order.
    """
    documents, bands = keys.shape
    counts = np.zeros((partitions, bands), dtype=np.int64)
    for document in range(documents):
        for band in range(bands):
            if wanted[document, band]:
                counts[_partition_of(keys[document, band], band, partitions), band] += 1
    places = np.zeros((partitions, bands), dtype=np.int64)
    total = 0
    for partition in range(partitions):
        for band in range(bands):
            places[partition, band] = total
            total += counts[partition, band]
    hashes = np.empty(total, dtype=np.uint32)
    owners = np.empty(total, dtype=np.int64)
    for document in range(documents):
        for band in range(bands):
            if wanted[document, band]:
                partition = _partition_of(keys[document, band], band, partitions)
                place = places[partition, band]
                hashes[place] = keys[document, band]
                owners[place] = ids[document]
                places[partition, band] += 1
    return counts, hashes, owners


@kernel
def _partition_of(hashed, band, partitions):  # type: ignore[no-untyped-def]
    return (np.int64(hashed) * partitions // 4294967296 + band) % partitions


@kernel
def contained(keys, fresh, starts):  # type: ignore[no-untyped-def]
    """Which keys are among some others, band by band.

    Args:
        keys: uint32 (documents, bands).
        fresh: uint32 (bands, others), each row sorted; starts: `prefix_starts` of each row.
    """
    documents, bands = keys.shape
    out = np.zeros((documents, bands), dtype=np.bool_)
    for document in range(documents):
        for band in range(bands):
            key = keys[document, band]
            prefix = key >> 16
            for at in range(starts[band, prefix], starts[band, prefix + 1]):
                if fresh[band, at] == key:
                    out[document, band] = True
                    break
    return out


def prefix_starts(fresh: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Per row of sorted keys, where each prefix of 16 bits begins: int64 (rows, 65537)."""
    prefixes = np.arange(0, 65537, dtype=np.uint64) << np.uint64(16)
    return np.stack([np.searchsorted(row.astype(np.uint64), prefixes) for row in fresh])
