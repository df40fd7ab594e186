"""The pipeline around an engine of no latency: time, requests a second, chunk after chunk, bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from webscale_rl import Pipeline
from webscale_rl.runtime.progress import Progress

# The gates that a scripted question passes: the other rules would reject its English.
SCRIPTED_GATES = ("lengths", "quotation", "duplicate_question", "round_trip", "judge")
# Estimated tokens of a chunk: some ten thousand requests.
CHUNK_TOKENS = 20_000_000


class Watch(Progress):
    """When each stage began and ended, and when each of its chunks was written."""

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, Any]] = {}
        self._now: dict[str, Any] = {}
        self._before = time.monotonic()

    def begin(self, stage: str, total: int, unit: str = "rows") -> None:
        # What a stage does before it knows what it has to do counts as its own time.
        self._now = self.stages.setdefault(stage, {"began": self._before, "steps": []})
        self._now["rows"] = total

    def advance(self, done: int, kept: int, tokens: int = 0) -> None:
        self._now["steps"].append((time.monotonic(), done))

    def end(self) -> None:
        self._now["ended"] = self._before = time.monotonic()
        print(f"  {list(self.stages)[-1]}: {self._now['ended'] - self._now['began']:.1f} s", flush=True)


def configuration(engine: Mapping[str, Any], gates: Sequence[str]) -> dict[str, Any]:
    """The chain for a capable model, every step by one engine."""
    return {
        "engines": {"one": dict(engine)},
        "screen": {"engine": "one", "method": "prompt", "prompt": "screen_identify"},
        "identify": {"engine": "one", "method": "prompt", "prompt": "screen_identify"},
        "generate": {"engine": "one", "strategy": "question_first", "prompt": "generate_question_first"},
        "check": {
            "gates": list(gates),
            "round_trip": {"engine": "one", "method": "free", "prompt": "answer"},
            "judge": {"engine": "one", "method": "prompt", "prompt": "judge"},
        },
    }


def measure(spark: SparkSession, texts: Path, documents: int, folder: Path) -> dict[str, Any]:
    """Run the whole chain over so many documents.

    Args:
        texts: Parquet files with id and text.
        folder: for the warehouse.
    """
    source = folder / f"in-{documents}"
    spark.read.parquet(str(texts)).orderBy("id").limit(documents).write.mode("overwrite").parquet(str(source))
    canned = {
        "engine": "benchmarks.engine_parts.canned:CannedEngine",
        "options": {"tag": str(documents)},
        "chunk_tokens": CHUNK_TOKENS,
        "in_flight": 2,
    }
    values = configuration(canned, SCRIPTED_GATES)
    values["sources"] = [{"name": "texts", "paths": [str(source)], "format": "parquet"}]
    values["warehouse"] = str(folder / f"wh-{documents}")
    watch = Watch()
    started = time.monotonic()
    result = Pipeline(config=values, spark=spark, progress=watch).run()
    seconds = time.monotonic() - started
    statuses = Pipeline(config=values, spark=spark).status()
    completions = spark.read.format("delta").load(f"{folder}/wh-{documents}/completions")
    asked = {
        row["stage"]: row["n"] for row in completions.groupBy("stage").agg(F.count("*").alias("n")).collect()
    }
    stages = {name: told(seen, asked.get(name, 0)) for name, seen in watch.stages.items()}
    model_seconds = sum(stage["seconds"] for stage in stages.values() if stage["requests"])
    return {
        "documents": documents,
        "seconds": round(seconds, 1),
        "pairs": result.pairs,
        "requests": result.requests,
        "requests_per_second": round(result.requests / model_seconds, 1),
        "stages": stages,
        "rejected": {s.stage: s.reasons for s in statuses if s.reasons},
        "table_bytes": {
            path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            for path in sorted((folder / f"wh-{documents}").iterdir())
        },
    }


def told(seen: dict[str, Any], requests: int) -> dict[str, Any]:
    """A stage's figures; the cost of the last chunks over that of the first, per row."""
    found = {"seconds": round(seen.get("ended", time.monotonic()) - seen["began"], 1), "requests": requests}
    steps = seen["steps"]
    if requests and len(steps) >= 7:
        # Per row; without the probe, the first chunk, which none overlaps, and what is left at the end.
        cost = [(b[0] - a[0]) / b[1] for a, b in pairwise(steps) if b[1]][1:-1]
        found["chunks"] = len(steps)
        found["last_over_first"] = round(sum(cost[-2:]) / sum(cost[:2]), 2)
        # Two chunks are in flight, so that one's time is partly its neighbour's, less so over more of them.
        quarter = max(len(cost) // 4, 2)
        found["last_quarter_over_first"] = round(sum(cost[-quarter:]) / sum(cost[:quarter]), 2)
        found["milliseconds_a_row"] = [round(1000 * one, 3) for one in cost]
    return found
