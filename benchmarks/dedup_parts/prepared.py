"""Corpora and their truth, made once and kept in the cache folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dedup_parts import corpus, sources, truth
from dedup_parts.measure import note


@dataclass(frozen=True)
class Prepared:
    """A corpus with its exact truth.

    Attributes:
        clusters: of each document of ``ids``, the number of the first document of its true cluster.
    """

    folder: Path
    ids: list[str]
    pairs: truth.Pairs
    clusters: NDArray[np.int32]

    def facts(self) -> dict[str, Any]:
        """What there is to know about it, similarity histogram included."""
        sizes = np.bincount(self.clusters)
        sizes = sizes[sizes > 0]
        return {
            "folder": str(self.folder),
            "documents": len(self.ids),
            "megabytes": round(text_bytes(self.folder) / 1e6, 1),
            "fingerprint": fingerprint(self.folder),
            "true_pairs": len(self.pairs.left),
            "documents_to_remove": int((sizes - 1).sum()),
            "true_clusters_of_two_and_more": int((sizes > 1).sum()),
            "largest_true_cluster": int(sizes.max()) if len(sizes) else 0,
            "planted": planted(self),
        }


def paragraphs(cache: Path, folder: Path | None) -> Path:
    """The source text (see `sources.texts`)."""
    note("source text: documentation packages" if folder is None else f"source text: {folder}")
    return sources.texts(cache, folder)


def standard(cache: Path, texts: Path, documents: int, seed: int) -> Path:
    """A corpus of real documents (see `corpus.standard`)."""
    return _made(cache, texts, f"standard-{documents}-{seed}", corpus.standard, documents, seed)


def warming(cache: Path, texts: Path, documents: int, seed: int) -> Path:
    """The corpus that a system works on first where its session is to be running: other documents."""
    return standard(cache, texts, documents, seed + 1000)


def recombined(cache: Path, texts: Path, documents: int, seed: int) -> Path:
    """A corpus of recombined paragraphs (see `corpus.recombined`)."""
    return _made(cache, texts, f"recombined-{documents}-{seed}", corpus.recombined, documents, seed)


def with_truth(folder: Path) -> Prepared:
    """A corpus with its truth, which is computed at the first use."""
    kept = folder / "truth.npz"
    if kept.exists():
        stored = np.load(kept)
        pairs = truth.Pairs(*(stored[name] for name in ("left", "right", "common", "union")))
        return Prepared(folder, read_ids(folder), pairs, stored["clusters"])
    note(f"{folder.name}: computing the truth")
    sets = truth.shingle_sets(truth.read_texts(folder))
    pairs = truth.similar_pairs(sets)
    clusters = truth.clusters(len(sets.ids), pairs)
    unfinished = folder / "truth-unfinished.npz"
    np.savez_compressed(
        unfinished,
        left=pairs.left,
        right=pairs.right,
        common=pairs.common,
        union=pairs.union,
        clusters=clusters,
    )
    unfinished.rename(kept)
    return Prepared(folder, sets.ids, pairs, clusters)


def read_ids(folder: Path) -> list[str]:
    """The ids in the order of the truth."""
    return [
        key for path in _parts(folder) for key in pq.read_table(path, columns=["id"]).column(0).to_pylist()
    ]


def text_bytes(folder: Path) -> int:
    """Bytes of text in a corpus, as UTF-8."""
    total = 0
    for path in _parts(folder):
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"]):
            total += batch.column(0).nbytes
    return total


def fingerprint(folder: Path) -> str:
    """What tells this corpus from one made of other packages' versions."""
    digest = hashlib.sha256()
    for some_ids, some_texts in truth.read_texts(folder):
        for key, text in zip(some_ids, some_texts, strict=True):
            digest.update(f"{key}\0{text}\0".encode())
    return digest.hexdigest()[:16]


def planted(prepared: Prepared) -> dict[str, dict[str, int]]:
    """By kind of edit, how many copies were planted and how many are near duplicates of their original
    by the truth (0.8 and more).
    """
    path = prepared.folder / "plants.parquet"
    if not path.exists():
        return {}
    number = {key: n for n, key in enumerate(prepared.ids)}
    true = set(zip(prepared.pairs.left.tolist(), prepared.pairs.right.tolist(), strict=True))
    planted, near = Counter(), Counter()
    for row in pq.read_table(path).to_pylist():
        a, b = sorted((number[row["id"]], number[row["origin"]]))
        planted[row["kind"]] += 1
        near[row["kind"]] += (a, b) in true
    return {kind: {"planted": planted[kind], "near": near[kind]} for kind in planted}


def histogram(folder: Path, sample: int = 2000, seed: int = 1) -> dict[str, int]:
    """Of a sample of documents, the similarity to the most similar other document of the corpus, counted
    by tenths; exact.
    """
    ids = read_ids(folder)
    chosen = set(np.random.default_rng(seed).choice(len(ids), min(sample, len(ids)), replace=False).tolist())
    names = {ids[n] for n in chosen}
    some: tuple[list[str], list[str]] = ([], [])
    for some_ids, some_texts in truth.read_texts(folder):
        for key, text in zip(some_ids, some_texts, strict=True):
            if key in names:
                some[0].append(key)
                some[1].append(text)
    best = truth.nearest(truth.read_texts(folder), truth.shingle_sets([some]))
    # The last bin is for equal sets alone.
    tenths = np.minimum((best * 10 + 1e-9).astype(int), 10)
    labels = [f"{n / 10:.1f}-{(n + 1) / 10:.1f}" for n in range(10)] + ["1.0"]
    return dict(zip(labels, np.bincount(tenths, minlength=11).tolist(), strict=True))


def made(cache: Path, texts: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A corpus of a kind of its own, made by ``make`` at the first use."""
    return _made(cache, texts, name, lambda folder, *_: make(folder), 0, 0)


def _made(cache: Path, texts: Path, name: str, make: Any, documents: int, seed: int) -> Path:
    origin = hashlib.sha256(texts.name.encode()).hexdigest()[:6]
    folder = cache / f"corpus-{name}-{origin}"
    if not folder.exists():
        note(f"making {folder.name}")
        make(folder, texts, documents, seed)
    return folder


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / "documents").glob("*.parquet"))
