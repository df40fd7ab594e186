"""Candidate pairs to groups that are verified together, and verified pairs to clusters: within one task.

The short way, for as many pairs as fit into one worker; `webscale_rl.stages.deduplicate.components` has
the long one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.dedup import pairing
from udfs.dedup.bands import unique_pairs
from udfs.dedup.columns import first_of_runs, int64s

# A member of a group has no other; a pair within it has one.
GROUP_DDL = "grp bigint, id bigint, other bigint"
_GROUP_SCHEMA = pa.schema([("grp", pa.int64()), ("id", pa.int64()), ("other", pa.int64())])


def groups_function(largest: int) -> partial[Iterator[pa.RecordBatch]]:
    """All candidate pairs (a, b) in, groups (`GROUP_DDL`) out.

    A group is a connected component of candidates, so each text is sent to one place. A component of more
    than ``largest`` documents is cut into groups around single documents.
    """
    return partial(group_batches, largest=largest)


def group_batches(batches: Iterable[pa.RecordBatch], *, largest: int) -> Iterator[pa.RecordBatch]:
    """See `groups_function`."""
    read = [(int64s(batch.column("a")), int64s(batch.column("b"))) for batch in batches]
    if not read:
        return
    a, b = unique_pairs(np.concatenate([x for x, _ in read]), np.concatenate([y for _, y in read]))
    if not len(a):
        return
    group, members = _grouped(a, b, largest)
    pairs = [pa.array(group), pa.array(a), pa.array(b)]
    yield pa.RecordBatch.from_arrays(pairs, schema=_GROUP_SCHEMA)
    rows = [pa.array(members[0]), pa.array(members[1]), pa.nulls(len(members[0]), pa.int64())]
    yield pa.RecordBatch.from_arrays(rows, schema=_GROUP_SCHEMA)


def _grouped(
    a: NDArray[np.int64], b: NDArray[np.int64], largest: int
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Each pair's group, and the (group, id) of all members."""
    nodes, positions = np.unique(np.concatenate((a, b)), return_inverse=True)
    left, right = positions[: len(a)], positions[len(a) :]
    roots = pairing.components(left, right, len(nodes))
    sizes = np.bincount(roots, minlength=len(nodes))
    group = roots[left]
    too_large = sizes[group] > largest
    if too_large.any():
        # Pairs are sorted by their first document: runs of it, cut where they are long.
        starts = np.flatnonzero(first_of_runs(a))
        runs = np.repeat(starts, np.diff(np.append(starts, len(a))))
        within = (np.arange(len(a)) - runs) // largest
        hubs = np.flatnonzero(first_of_runs(runs, within))
        group = np.where(too_large, -1 - np.repeat(hubs, np.diff(np.append(hubs, len(a)))), group)
    ids = np.concatenate((a, b))
    both = np.concatenate((group, group))
    order = np.lexsort((ids, both))
    ids, both = ids[order], both[order]
    first = first_of_runs(both, ids)
    return group, (both[first], ids[first])
