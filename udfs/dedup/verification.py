"""Exact Jaccard similarity of the pairs of each group: a function for mapInArrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.dedup import hashes, pairing
from udfs.dedup.characters import character_table
from udfs.dedup.columns import first_of_runs, int64s, strings, utf8_bytes

# What is known of a document beside its text; `age` and `key` decide who stays.
NODE_COLUMNS = (
    ("key", pa.string()),
    ("age", pa.int64()),
    ("fresh", pa.bool_()),
    ("cluster", pa.string()),
    ("representative", pa.string()),
    ("representative_age", pa.int64()),
)
# A verified pair (a, b, similarity), or a document of one (a, and the columns of a node).
VERIFIED_DDL = (
    "a bigint, b bigint, similarity double, key string, age bigint, fresh boolean, cluster string, "
    "representative string, representative_age bigint"
)
_PAIR_COLUMNS = (("a", pa.int64()), ("b", pa.int64()), ("similarity", pa.float64()))
_VERIFIED_SCHEMA = pa.schema([*_PAIR_COLUMNS, *NODE_COLUMNS])


def verify_function(shingle_size: int, threshold: float) -> partial[Iterator[pa.RecordBatch]]:
    """Rows of whole groups, sorted by group, in; what is verified (`VERIFIED_DDL`) out.

    Rows in: grp, id, other, text and the columns of a node. A row with other is a pair, one with text a
    document's text, one with key what else is known of a document. Pairs of which a document's text or
    node is missing are dropped, and so are those of an id that two different keys share.
    """
    return partial(verify_batches, shingle_size=shingle_size, threshold=threshold)


def verify_batches(
    batches: Iterable[pa.RecordBatch], *, shingle_size: int, threshold: float
) -> Iterator[pa.RecordBatch]:
    """See `verify_function`."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        groups = int64s(batch.column("grp"))
        if not len(groups):
            continue
        # The last group of a batch may go on in the next one.
        end = int(np.searchsorted(groups, groups[-1]))
        if end > 0 or (held and groups[0] != held[-1].column("grp")[-1].as_py()):
            whole = [*held, batch.slice(0, end)]
            yield from _verify(whole, shingle_size, threshold)
            held = []
        held.append(batch.slice(end))
    yield from _verify(held, shingle_size, threshold)


def _verify(batches: list[pa.RecordBatch], shingle_size: int, threshold: float) -> Iterator[pa.RecordBatch]:
    if not batches:
        return
    rows = pa.Table.from_batches(batches)
    pairs = rows.filter(rows.column("other").is_valid())
    nodes = _sorted(rows.filter(rows.column("key").is_valid()), "key")
    texts = _sorted(rows.filter(rows.column("text").is_valid()), None)
    if not pairs.num_rows or not nodes.num_rows or not texts.num_rows:
        return
    data, offsets = utf8_bytes(texts.column("text").chunk(0))
    sets, bounds = hashes.shingle_sets(data, offsets, character_table(), shingle_size)
    grp, a, b = (int64s(pairs.column(name)) for name in ("grp", "id", "other"))
    text_at, node_at = _index(texts), _index(nodes)
    known = (pairing.positions(*node_at, grp, a) >= 0) & (pairing.positions(*node_at, grp, b) >= 0)
    left = np.where(known, pairing.positions(*text_at, grp, a), -1)
    right = pairing.positions(*text_at, grp, b)
    similarity = hashes.jaccard(sets, bounds, left, right, threshold)
    good = similarity >= 0
    if not good.any():
        return
    yield _pair_batch(a[good], b[good], similarity[good])
    groups, ids = np.tile(grp[good], 2), np.concatenate((a[good], b[good]))
    used = np.unique(pairing.positions(*node_at, groups, ids))
    yield _node_batch(nodes.take(pa.array(used)))


def _sorted(rows: pa.Table, distinct_by: str | None) -> pa.Table:
    """Rows by group and id: one row each, or one for each different value of a column."""
    order = np.lexsort((int64s(rows.column("id")), int64s(rows.column("grp"))))
    rows = rows.take(pa.array(order)).combine_chunks()
    if not rows.num_rows:
        return rows
    columns = [int64s(rows.column("grp")), int64s(rows.column("id"))]
    if distinct_by is not None:
        columns.append(strings(rows.column(distinct_by)))
    return rows.filter(pa.array(first_of_runs(*columns))).combine_chunks()


def _index(rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return int64s(rows.column("grp")), int64s(rows.column("id"))


def _pair_batch(
    a: NDArray[np.int64], b: NDArray[np.int64], similarity: NDArray[np.float64]
) -> pa.RecordBatch:
    columns = [pa.array(a), pa.array(b), pa.array(similarity)]
    columns += [pa.nulls(len(a), kind) for _, kind in NODE_COLUMNS]
    return pa.RecordBatch.from_arrays(columns, schema=_VERIFIED_SCHEMA)


def _node_batch(nodes: pa.Table) -> pa.RecordBatch:
    count = nodes.num_rows
    columns = [nodes.column("id"), pa.nulls(count, pa.int64()), pa.nulls(count, pa.float64())]
    columns += [nodes.column(name).cast(kind) for name, kind in NODE_COLUMNS]
    (batch,) = pa.Table.from_arrays(columns, schema=_VERIFIED_SCHEMA).combine_chunks().to_batches()
    return batch
