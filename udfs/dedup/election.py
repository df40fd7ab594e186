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
    """Verified pairs from both their ends, each once: by node, its most similar neighbour first."""

    def __init__(
        self, a: NDArray[np.int64], b: NDArray[np.int64], similarity: NDArray[np.float64], nodes: int
    ) -> None:
        self.a, self.b = a, b
        ends = np.concatenate((a, b))
        others = np.concatenate((b, a))
        weights = np.concatenate((similarity, similarity))
        # Of equally similar ones the one that stays sooner.
        order = np.lexsort((others, -weights, ends))
        ends, others, weights = ends[order], others[order], weights[order]
        first = first_of_runs(ends, others)
        self.ends, self.others, self.weights = ends[first], others[first], weights[first]
        self.bounds = np.searchsorted(self.ends, np.arange(nodes + 1))

    def of(self, node: int) -> NDArray[np.int64]:
        """A node's neighbours."""
        return self.others[self.bounds[node] : self.bounds[node + 1]]


def _by_chain(nodes: _Nodes, graph: _Graph) -> pa.RecordBatch:
    count = len(nodes.ids)
    # Old documents of one cluster belong together, though no pair of theirs was looked at again.
    old = np.flatnonzero(~nodes.fresh)
    first_of: dict[str, int] = {}
    anchors = [first_of.setdefault(nodes.cluster[node], int(node)) for node in old]
    left = np.concatenate((graph.a, np.array(anchors, dtype=np.int64)))
    right = np.concatenate((graph.b, old))
    roots = pairing.components(left, right, count)
    # Roots are the smallest nodes: where all are fresh, the root is the one to stay.
    stays, cluster = nodes.keys[roots], nodes.keys[roots]
    bridged = np.full(count, None, dtype=object)
    old_of: dict[int, list[int]] = {}
    for node in old:
        old_of.setdefault(int(roots[node]), []).append(int(node))
    if old_of:
        of_root = _Members(roots)
        for root, some in old_of.items():
            clusters = _clusters(nodes, some)
            members = of_root.members(root)
            stays[members], cluster[members] = clusters[0][1:]
            fresh = members[nodes.fresh[members]]
            if len(clusters) > 1 and len(fresh):
                bridged[fresh[0]] = [name for _, _, name in clusters]
    return _verdicts(nodes, graph, stays, cluster, bridged)


class _Members:
    """The nodes of each root, in their order."""

    def __init__(self, roots: NDArray[np.int64]) -> None:
        self._order = np.argsort(roots, kind="stable")
        self._sorted = roots[self._order]

    def members(self, root: int) -> NDArray[np.int64]:
        start, end = np.searchsorted(self._sorted, (root, root + 1))
        return self._order[start:end]


def _clusters(nodes: _Nodes, old: list[int]) -> list[tuple[int, str, str]]:
    """The clusters of some old documents as (age, key of the one that stays, cluster), oldest first."""
    return sorted(
        {
            (int(nodes.representative_age[node]), nodes.representative[node], nodes.cluster[node])
            for node in old
        }
    )


def _directly(nodes: _Nodes, graph: _Graph) -> pa.RecordBatch:
    staying = ~nodes.fresh & (nodes.representative == nodes.keys)
    stays, cluster = nodes.keys.copy(), nodes.cluster.astype(object)
    for node in np.flatnonzero(nodes.fresh):
        others = graph.of(int(node))
        others = others[staying[others]]
        survivor = int(others.min()) if len(others) else int(node)
        if survivor == node:
            staying[node], cluster[node] = True, nodes.keys[node]
        else:
            stays[node], cluster[node] = nodes.keys[survivor], cluster[survivor]
    return _verdicts(nodes, graph, stays, cluster, np.full(len(nodes.ids), None, dtype=object))


def _verdicts(
    nodes: _Nodes, graph: _Graph, stays: NDArray[Any], cluster: NDArray[Any], bridged: NDArray[Any]
) -> pa.RecordBatch:
    """Verdicts on the fresh: a copy of the one that stays if they are similar, else of its most similar
    neighbour.
    """
    first = first_of_runs(graph.ends) if len(graph.ends) else np.zeros(0, dtype=np.bool_)
    direct = nodes.keys[graph.others] == stays[graph.ends]
    link = np.zeros(len(nodes.ids), dtype=np.int64)
    similarity = np.zeros(len(nodes.ids))
    for chosen in (first, direct):
        link[graph.ends[chosen]] = graph.others[chosen]
        similarity[graph.ends[chosen]] = graph.weights[chosen]
    kept = nodes.keys == stays
    columns = [
        nodes.keys,
        np.where(kept, "kept", "rejected").astype(object),
        stays,
        pa.array(nodes.keys[link], type=pa.string(), mask=kept),
        pa.array(similarity, mask=kept),
        cluster,
        bridged,
    ]
    fresh = pa.array(nodes.fresh)
    arrays = [
        pa.array(column, type=field.type).filter(fresh)
        for column, field in zip(columns, _VERDICT_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_VERDICT_SCHEMA)
