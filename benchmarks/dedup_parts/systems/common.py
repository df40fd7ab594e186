"""What every system's runner does: read its arguments, warm up, time the work, hand over what was kept.

A runner is started as a program of its own, by the interpreter of the system's environment:

    python RUNNER.py --input CORPUS --output RESULT.parquet --work FOLDER --report FILE.json
                     [--warm SMALL_CORPUS] [--options JSON]

CORPUS is a folder with documents/*.parquet (id, text). RESULT has one row a document: id, cluster, kept.
What is timed is from the corpus on disk to the system's own result on disk; RESULT is made afterwards.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Work = Callable[[Path, Path], Any]
Collect = Callable[[Path, Path, Any], Iterable[tuple[str, str, bool]]]


def arguments() -> argparse.Namespace:
    """The command line of a runner; ``options`` comes as a dict."""
    parser = argparse.ArgumentParser()
    for name in ("input", "output", "work", "report"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--warm", type=Path)
    parser.add_argument("--options", type=json.loads, default={})
    return parser.parse_args()


def run(given: argparse.Namespace, version: str, work: Work, collect: Collect) -> None:
    """Do the work, after a small corpus where one is given (see `warm_rounds`), and report.

    Args:
        work: (corpus, empty folder for its files) to whatever `collect` needs.
        collect: (corpus, folder, what work gave) to (id, cluster, kept) of every document; not timed.
    """
    for _ in range(warm_rounds(given)):
        work(given.warm, _fresh(given.work / "warm"))
    ready = time.time()
    folder = _fresh(given.work / "run")
    gave = work(given.input, folder)
    done = time.time()
    rows = list(collect(given.input, folder, gave))
    columns = [list(column) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(columns, names=["id", "cluster", "kept"]), given.output)
    given.report.write_text(json.dumps({"version": version, "ready": ready, "done": done}))


def warm_rounds(given: argparse.Namespace) -> int:
    """How often the small corpus is worked on first: ``options["warm_rounds"]`` times, if there is one."""
    return int(given.options.get("warm_rounds", 1)) if given.warm else 0


def parts(corpus: Path) -> list[str]:
    """The corpus' files in their order."""
    return [str(path) for path in sorted((corpus / "documents").glob("*.parquet"))]


def identifiers(corpus: Path) -> list[str]:
    """All ids, in the order of files and rows."""
    return [
        value for path in parts(corpus) for value in pq.read_table(path, columns=["id"]).column(0).to_pylist()
    ]


def roots(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The smallest member of each number's connected component."""
    parent: dict[int, int] = {}

    def find(x: int) -> int:
        parent.setdefault(x, x)
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in edges:
        first, second = sorted((find(a), find(b)))
        parent[second] = first
    return {node: find(node) for node in list(parent)}


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
