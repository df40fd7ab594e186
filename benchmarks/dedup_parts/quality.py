"""What a system's result is worth, judged by the exact truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dedup_parts.truth import Pairs


@dataclass(frozen=True)
class Quality:
    """Counts and shares of one result.

    Attributes:
        pair_recall: true pairs whose documents end in one cluster.
        document_recall: of the documents too many (all but one of every true cluster), those removed.
        document_precision: of the removed documents, those of which a copy by the truth was, or could have
            been, left: all but the last one of each true cluster.
        lost_clusters: true clusters, single documents included, of which nothing was kept.
    """

    removed: int
    to_remove: int
    pair_recall: float
    document_recall: float
    document_precision: float
    lost_clusters: int

    def as_dict(self) -> dict[str, float]:
        """As plain numbers."""
        return asdict(self)


def read_result(path: Path, ids: list[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(cluster number, kept) of each document, in the order of ``ids``.

    Raises:
        ValueError: a document is missing, or there twice.
    """
    table = pq.read_table(path)
    names = table.column("id").to_pylist()
    if len(names) != len(ids) or set(names) != set(ids):
        raise ValueError(f"the result has {len(names)} rows ({len(set(names))} ids) for {len(ids)} documents")
    place = {name: n for n, name in enumerate(ids)}
    order = np.array([place[name] for name in names])
    _, numbers = np.unique(np.array(table.column("cluster").to_pylist(), dtype=object), return_inverse=True)
    cluster = np.empty(len(ids), np.int64)
    cluster[order] = numbers
    kept = np.empty(len(ids), bool)
    kept[order] = np.array(table.column("kept").to_pylist())
    return cluster, kept


def judge(
    true_clusters: NDArray[np.int32], pairs: Pairs, cluster: NDArray[np.int64], kept: NDArray[np.bool_]
) -> Quality:
    """Compare a result with the truth."""
    together = cluster[pairs.left] == cluster[pairs.right]
    sizes = np.bincount(true_clusters, minlength=len(true_clusters))
    removed = np.bincount(true_clusters[~kept], minlength=len(true_clusters))
    rightly = np.minimum(removed, np.maximum(sizes - 1, 0))
    too_many = int(np.maximum(sizes - 1, 0).sum())
    total = int((~kept).sum())
    return Quality(
        removed=total,
        to_remove=too_many,
        pair_recall=float(together.mean()) if len(together) else 1.0,
        document_recall=float(rightly.sum() / too_many) if too_many else 1.0,
        document_precision=float(rightly.sum() / total) if total else 1.0,
        lost_clusters=int(((sizes > 0) & (removed == sizes)).sum()),
    )
