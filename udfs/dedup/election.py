"""Which document of a cluster stays: from verified pairs to verdicts, for mapInArrow.

Old documents have their verdicts already, and these do not change. A fresh document joins the cluster that a
chain of verified pairs leads it to; where it leads to several that were kept apart, it joins the oldest one
and the bridge between them is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from udfs.dedup import pairing
from udfs.dedup.columns import first_of_runs, int64s, strings

VERDICT_DDL = (
    "key string, status string, representative_key string, linked_key string, similarity double, "
    "cluster_key string, bridged array<string>"
)
_VERDICT_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("status", pa.string()),
        ("representative_key", pa.string()),
        ("linked_key", pa.string()),
        ("similarity", pa.float64()),
        ("cluster_key", pa.string()),
        ("bridged", pa.list_(pa.string())),
    ]
)


def elect_function(chain: bool) -> partial[Iterator[pa.RecordBatch]]:
    """Verified pairs and documents (`verification.VERIFIED_DDL`) in, verdicts (`VERDICT_DDL`) out.

    All rows of a cluster must come to the same task. Verdicts are given on fresh documents only.

    Args:
        chain: a document goes when a chain of verified pairs leads to the one that stays; else only when
            it is itself similar to it.
    """
    return partial(elect_batches, chain=chain)


def elect_batches(batches: Iterable[pa.RecordBatch], *, chain: bool) -> Iterator[pa.RecordBatch]:
    """See `elect_function`."""
    read = list(batches)
    if not read:
        return
    rows = pa.Table.from_batches(read)
    is_pair = rows.column("b").is_valid()
    pairs = rows.filter(is_pair)
    nodes = _Nodes(rows.filter(pc.invert(is_pair)))
    if not len(nodes.ids):
        return
    graph = _Graph(
        nodes.places(int64s(pairs.column("a"))),
        nodes.places(int64s(pairs.column("b"))),
        pairs.column("similarity").to_numpy(),
        len(nodes.ids),
    )
    yield (_by_chain if chain else _directly)(nodes, graph)


class _Nodes:
    """The documents, each once, in the order in which they stay: age, then key."""

    def __init__(self, rows: pa.Table) -> None:
        ids = int64s(rows.column("a"))
        # A document comes once for each group that it was verified in.
        _, firsts = np.unique(ids, return_index=True)
        rows = rows.take(pa.array(firsts))
        keys = strings(rows.column("key")).astype(object)
        order = np.lexsort((keys.astype(str), int64s(rows.column("age"))))
        rows = rows.take(pa.array(order))
        self.ids = int64s(rows.column("a"))
        self.keys = keys[order]
        self.fresh = rows.column("fresh").to_numpy().astype(np.bool_)
        self.cluster = strings(rows.column("cluster"))
        self.representative = strings(rows.column("representative"))
        self.representative_age = rows.column("representative_age").fill_null(0).to_numpy()
        self._order = np.argsort(self.ids)

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of ids; every one must be there."""
        found = np.searchsorted(self.ids, ids, sorter=self._order)
        return self._order[found]


class _Graph:
    """Verified pairs by node, each pair once."""

    def __init__(
        self, a: NDArray[np.int64], b: NDArray[np.int64], similarity: NDArray[np.float64], nodes: int
    ) -> None:
        self.a, self.b = a, b
        ends = np.concatenate((a, b))
        others = np.concatenate((b, a))
        weights = np.concatenate((similarity, similarity))
        # The most similar neighbour first, of equals the one that stays sooner.
        order = np.lexsort((others, -weights, ends))
        ends, others, weights = ends[order], others[order], weights[order]
        first = first_of_runs(ends, others)
        self.others, self.weights = others[first], weights[first]
        self.bounds = np.searchsorted(ends[first], np.arange(nodes + 1))

    def of(self, node: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A node's neighbours and similarities, the most similar first."""
        part = slice(self.bounds[node], self.bounds[node + 1])
        return self.others[part], self.weights[part]


def _by_chain(nodes: _Nodes, graph: _Graph) -> pa.RecordBatch:
    count = len(nodes.ids)
    # Old documents of one cluster belong together, though no pair of theirs was looked at again.
    old = np.flatnonzero(~nodes.fresh)
    first_of: dict[str, int] = {}
    anchors = [first_of.setdefault(nodes.cluster[node], int(node)) for node in old]
    left = np.concatenate((graph.a, np.array(anchors, dtype=np.int64)))
    right = np.concatenate((graph.b, old))
    roots = pairing.components(left, right, count)
    old_of: dict[int, list[int]] = {}
    for node in old:
        old_of.setdefault(int(roots[node]), []).append(int(node))
    verdicts = []
    told: set[int] = set()
    for node in np.flatnonzero(nodes.fresh):
        root = int(roots[node])
        clusters = _clusters(nodes, old_of.get(root, []))
        if not clusters:
            # Roots are the smallest nodes: the root is the one to stay.
            stays, cluster = nodes.keys[root], nodes.keys[root]
        else:
            _, stays, cluster = clusters[0]
        bridged = None
        if len(clusters) > 1 and root not in told:
            told.add(root)
            bridged = [name for _, _, name in clusters]
        verdicts.append(_verdict(nodes, graph, int(node), stays, cluster, bridged))
    return _batch(verdicts)


def _clusters(nodes: _Nodes, old: list[int]) -> list[tuple[int, str, str]]:
    """The clusters of some old documents as (age, key of the one that stays, cluster), oldest first."""
    return sorted(
        {
            (int(nodes.representative_age[node]), nodes.representative[node], nodes.cluster[node])
            for node in old
        }
    )


def _directly(nodes: _Nodes, graph: _Graph) -> pa.RecordBatch:
    stays = ~nodes.fresh & (nodes.representative == nodes.keys)
    cluster = nodes.cluster.astype(object)
    verdicts = []
    for node in np.flatnonzero(nodes.fresh):
        others, _ = graph.of(int(node))
        staying = others[stays[others]]
        if len(staying):
            survivor = int(staying.min())
            cluster[node] = cluster[survivor]
            verdicts.append(_verdict(nodes, graph, int(node), nodes.keys[survivor], cluster[node], None))
        else:
            stays[node] = True
            cluster[node] = nodes.keys[node]
            verdicts.append(_verdict(nodes, graph, int(node), nodes.keys[node], cluster[node], None))
    return _batch(verdicts)


def _verdict(
    nodes: _Nodes, graph: _Graph, node: int, stays: str, cluster: str, bridged: list[str] | None
) -> tuple[Any, ...]:
    """A verdict: a copy of the one that stays if they are similar, else of its most similar neighbour."""
    key = nodes.keys[node]
    if key == stays:
        return key, "kept", stays, None, None, cluster, bridged
    others, weights = graph.of(node)
    direct = np.flatnonzero(nodes.keys[others] == stays)
    link = int(direct[0]) if len(direct) else 0
    return key, "rejected", stays, nodes.keys[others[link]], float(weights[link]), cluster, bridged


def _batch(verdicts: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*verdicts, strict=True) if verdicts else [[] for _ in _VERDICT_SCHEMA]
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, _VERDICT_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_VERDICT_SCHEMA)
