"""The modes that look at our stage alone: growth, skew, the threshold, and batches on Delta tables."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from dedup_parts import measure, prepared, quality, show, synthetic, truth
from dedup_parts.environments import OURS, python_of
from dedup_parts.measure import note

BANDS, ROWS = 25, 8
# More documents than this are recombined paragraphs: their truth takes hours.
_LARGE = 100_000


class NotMeasuredError(Exception):
    """Nothing can be said; the message says why."""


def scaling(given: argparse.Namespace, texts: Path, kept: dict[str, Any]) -> bool:
    """Ours on growing corpora of recombined paragraphs."""
    kept["runs"] = []
    rows = []
    first: dict[str, Any] | None = None
    for documents in given.documents or [100_000, 1_000_000]:
        folder = prepared.recombined(given.cache, texts, documents, given.seed)
        run = _ours(given, folder, _warm(given, texts))
        run |= {"documents": documents, "megabytes": prepared.text_bytes(folder) / 1e6}
        run["planted"] = _planted_recall(folder, _result(given))
        run["nearest_of_2000"] = prepared.histogram(folder)
        kept["runs"].append(run)
        show.histogram(run["nearest_of_2000"], f"{documents:,}: similarity to the nearest other document")
        first = first or run
        rows.append(
            [
                f"{documents:,}",
                f"{run['megabytes']:,.0f}",
                f"{run['seconds']:.1f}",
                f"{documents / run['seconds']:,.0f}",
                f"{documents / first['documents']:.1f}",
                f"{run['seconds'] / first['seconds']:.2f}",
                *_memory(run),
                f"{_shuffled(run) / documents:,.0f}",
                f"{run['planted']['found']:,} of {run['planted']['near']:,}",
                f"{run['load']:.1f}",
            ]
        )
        if given.verbose:
            show.stages(f"{documents:,} documents", run["shuffle"])
    show.table(
        [
            *("documents", "MB", "work s", "documents/s", "times the size", "times the seconds"),
            *("peak MB", "Python MB", "largest worker MB", "shuffled B/document"),
            *("planted pairs of 0.8 and more in one cluster (sample)", "load before"),
        ],
        rows,
    )
    return False


def skew(given: argparse.Namespace, texts: Path, kept: dict[str, Any]) -> bool:
    """A bucket of thousands of pages, and a template that half of the pages share."""
    kept["runs"] = []
    plans: list[tuple[str, int, Callable[[Path], None]]] = [
        (
            "6,000 near-identical pages among 13,000",
            13_000,
            lambda folder: synthetic.near_identical(folder, texts, 6000, 13_000, given.seed),
        )
    ]
    for documents in given.documents or [20_000, 40_000]:
        plans.append(
            (
                f"a template in half of {documents:,}",
                documents,
                lambda folder, n=documents: synthetic.template(folder, texts, n, given.seed),
            )
        )
    rows = []
    before: dict[str, Any] | None = None
    for number, (what, documents, make) in enumerate(plans):
        name = f"skew-{'pages' if number == 0 else 'template'}-{documents}-{given.seed}"
        corpus = prepared.with_truth(prepared.made(given.cache, texts, name, make))
        run = _ours(given, corpus.folder, _warm(given, texts))
        judged = quality.judge(
            corpus.clusters, corpus.pairs, *quality.read_result(_result(given), corpus.ids)
        )
        run |= {"what": what, "documents": documents, "quality": judged.as_dict()}
        kept["runs"].append(run)
        ratio = "-"
        if number > 1 and before:
            ratio = f"{run['seconds'] / before['seconds']:.2f} for {documents / before['documents']:.1f}"
        largest = max((stage["largest_read"] for stage in run["shuffle"]), default=0)
        slowest = max((stage["slowest"] for stage in run["shuffle"]), default=0)
        rows.append(
            [
                what,
                f"{run['seconds']:.1f}",
                ratio,
                *_memory(run),
                f"{largest / 1e6:.2f}",
                f"{slowest / 1000:.1f}",
                f"{len(corpus.pairs.left):,}",
                f"{judged.to_remove:,}",
                f"{judged.removed:,}",
                f"{judged.document_recall:.4f} / {judged.document_precision:.4f}",
                f"{run['load']:.1f}",
            ]
        )
        before = run
        if given.verbose:
            show.stages(what, run["shuffle"])
    show.table(
        [
            *("corpus", "work s", "times the seconds", "peak MB", "Python MB", "largest worker MB"),
            *("largest partition read MB", "slowest task s", "true pairs", "to remove", "removed"),
            *("document recall / precision", "load before"),
        ],
        rows,
    )
    return False


def threshold(given: argparse.Namespace, texts: Path, kept: dict[str, Any]) -> bool:
    """The share of pairs of exactly the threshold's similarity that are found."""
    pairs = max(20_000, (given.documents or [0])[0] // 2)
    folder = prepared.made(
        given.cache,
        texts,
        f"threshold-{pairs}-{given.seed}",
        lambda target: synthetic.pairs_at_threshold(target, texts, pairs, given.seed),
    )
    corpus = prepared.with_truth(folder)
    exact = len(corpus.pairs.left)
    if exact != pairs or not np.all(corpus.pairs.common * 5 == corpus.pairs.union * 4):
        raise NotMeasuredError(f"the corpus is wrong: {exact} pairs of 0.8 and more, {pairs} were made")
    run = _ours(given, folder, _warm(given, texts))
    cluster, kept_rows = quality.read_result(_result(given), corpus.ids)
    found = int((cluster[corpus.pairs.left] == cluster[corpus.pairs.right]).sum())
    bands, rows = given.settings.get("bands") or BANDS, given.settings.get("rows") or ROWS
    expected = 1 - (1 - 0.8**rows) ** bands
    deviation = math.sqrt(expected * (1 - expected) / pairs)
    kept["run"] = run | {
        "pairs": pairs,
        "found": found,
        "removed": int((~kept_rows).sum()),
        "expected_share": expected,
        "standard_deviation": deviation,
    }
    show.table(
        ["pairs of exactly 0.8", "found", "share", f"1-(1-0.8^{rows})^{bands}", "standard deviations off"],
        [
            [
                f"{pairs:,}",
                f"{found:,}",
                f"{found / pairs:.5f}",
                f"{expected:.5f} ± {deviation:.5f}",
                f"{(found / pairs - expected) / deviation:+.1f}",
            ]
        ],
    )
    return False


def stage(given: argparse.Namespace, texts: Path, kept: dict[str, Any]) -> bool:
    """The stage on Delta tables: all documents at once, and a tenth that arrives later.

    From `_LARGE` documents on they are recombined paragraphs without a known truth, the batches alone are
    measured, and a rebuild after them stands for all at once.
    """
    documents = (given.documents or [20_000])[0]
    large = documents >= _LARGE
    if large:
        folder = prepared.recombined(given.cache, texts, documents, given.seed)
    else:
        corpus = prepared.with_truth(prepared.standard(given.cache, texts, documents, given.seed))
        folder = corpus.folder
    work = given.cache / "work" / "stage"
    note(f"stage: {documents} documents on Delta tables")
    outcome = measure.run(
        "stage",
        "ours_stage.py",
        str(python_of(given.cache, OURS)),
        folder,
        work,
        _warm(given, texts),
        _options(given) | {"only_batches": large},
        given.timeout,
    )
    if outcome.error:
        raise NotMeasuredError(f"the stage failed: {outcome.error}")
    figures = outcome.figures
    kept["run"] = asdict(outcome)
    if large:
        first, late, rebuilt = figures["batches"]
        planted = _planted_recall(folder, work / "batches.parquet")
        kept["run"]["planted"] = planted
        show.table(
            [
                *(
                    "first ten elevenths s",
                    "the rest s",
                    "rest to first",
                    "rebuild of all s",
                    "rest to rebuild",
                ),
                *("peak MB", "Python MB", "largest worker MB"),
                "planted pairs of 0.8 and more in one cluster (sample)",
            ],
            [
                [
                    *(f"{first:.1f}", f"{late:.1f}", f"{late / first:.3f}"),
                    *(f"{rebuilt:.1f}", f"{late / rebuilt:.3f}"),
                    *_memory(kept["run"]),
                    f"{planted['found']:,} of {planted['near']:,}",
                ]
            ],
        )
        return False
    rows = []
    for name, what in (("once", "all at once"), ("batches", "ten elevenths, then the rest")):
        judged = quality.judge(
            corpus.clusters, corpus.pairs, *quality.read_result(work / f"{name}.parquet", corpus.ids)
        )
        figures[f"{name}_quality"] = judged.as_dict()
        rows.append(
            [
                what,
                " + ".join(f"{seconds:.1f}" for seconds in figures[name]),
                f"{figures[name][-1] / figures['once'][0]:.2f}",
                f"{judged.pair_recall:.4f}",
                f"{judged.document_recall:.4f} / {judged.document_precision:.4f}",
                f"{judged.lost_clusters:,}",
            ]
        )
    show.table(
        [
            *("how they arrive", "stage s", "last batch to all at once"),
            *("pair recall", "document recall / precision", "clusters lost"),
        ],
        rows,
    )
    return False


MODES: dict[str, Callable[[argparse.Namespace, Path, dict[str, Any]], bool]] = {
    "scaling": scaling,
    "skew": skew,
    "threshold": threshold,
    "stage": stage,
}


def _ours(given: argparse.Namespace, folder: Path, warm: Path) -> dict[str, Any]:
    """One run of ours, with a running session."""
    note(f"{OURS.name}: {folder.name}")
    outcome = measure.run(
        OURS.name,
        OURS.runner,
        str(python_of(given.cache, OURS)),
        folder,
        _result(given).parent,
        warm,
        _options(given),
        given.timeout,
    )
    if outcome.error:
        raise NotMeasuredError(f"{folder.name} failed: {outcome.error}")
    note(f"{OURS.name}: {outcome.seconds:.1f} s of work")
    return asdict(outcome)


def _options(given: argparse.Namespace) -> dict[str, Any]:
    return {"conf": given.conf, "settings": given.settings, "warm_rounds": given.warm_rounds}


def _result(given: argparse.Namespace) -> Path:
    return given.cache / "work" / OURS.name / "result.parquet"


def _warm(given: argparse.Namespace, texts: Path) -> Path:
    return prepared.warming(given.cache, texts, given.warm, given.seed)


def _memory(run: dict[str, Any]) -> list[str]:
    return [f"{run['memory'][kind] / 1e6:,.0f}" for kind in ("total", "python", "worker")]


def _shuffled(run: dict[str, Any]) -> int:
    return sum(stage["bytes"] for stage in run["shuffle"])


def _planted_recall(folder: Path, result: Path, sample: int = 10_000) -> dict[str, int]:
    """Of a sample of planted copies: how many are near duplicates of their original by the exact
    similarity, and how many of these ended in one cluster with it.
    """
    plants = pq.read_table(folder / "plants.parquet").to_pylist()
    chosen = random.Random(1).sample(plants, min(sample, len(plants)))  # noqa: S311
    wanted = {name for plant in chosen for name in (plant["id"], plant["origin"])}
    some: tuple[list[str], list[str]] = ([], [])
    for some_ids, some_texts in truth.read_texts(folder):
        for key, text in zip(some_ids, some_texts, strict=True):
            if key in wanted:
                some[0].append(key)
                some[1].append(text)
    sets = truth.shingle_sets([some])
    number = {key: n for n, key in enumerate(sets.ids)}
    table = pq.read_table(result, columns=["id", "cluster"])
    cluster = dict(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))
    near = found = 0
    for plant in chosen:
        a, b = number[plant["id"]], number[plant["origin"]]
        one = sets.shingles[sets.starts[a] : sets.starts[a + 1]]
        other = sets.shingles[sets.starts[b] : sets.starts[b + 1]]
        common = len(np.intersect1d(one, other, assume_unique=True))
        if 5 * common >= 4 * (len(one) + len(other) - common):
            near += 1
            found += cluster[plant["id"]] == cluster[plant["origin"]]
    return {"sample": len(chosen), "near": near, "found": found}
