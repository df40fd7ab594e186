"""Run by test_gpu_cluster.py in a process of its own: passes of a fake model on a cluster with fake GPUs.

    python tests/process/gpu_cluster.py FOLDER

Prints one JSON object; what happened to the engines is in FOLDER/trace.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.engine_parts.cluster import fake_gpus
from tests.fakes import traced
from tests.llm.test_completions import Desk, texts
from webscale_rl.llm.placement import place
from webscale_rl.spark.session import build_session

GPUS = {"gpus": 1, "in_flight": 2, "chunk_tokens": 6000}


class OneLog(Desk):
    """A desk whose passes all name one log, so that they have the same engine."""

    def log(self, stage: str) -> Path:
        return self.folder / "log"


def main(folder: Path) -> None:
    spark = build_session(
        app_name="gpus",
        master="local-cluster[2,2,2048]",
        conf=fake_gpus(folder, 2) | {"spark.task.maxFailures": "4"},
    )
    # Executors take their time to register, and the first job would go to those that have.
    tracker = spark.sparkContext._jsc.sc().statusTracker()
    until = time.monotonic() + 90
    while len(tracker.getExecutorInfos()) < 3 and time.monotonic() < until:
        time.sleep(0.5)
    desk = OneLog(spark, folder)
    told: dict[str, Any] = {}

    def ask(stage: str, count: int, marks: dict[int, str] | None = None, **options: Any) -> None:
        given = texts(stage, count, lambda n: (marks or {}).get(n, ""))
        outcome = desk.ask(stage, given, settings=GPUS, trace=str(folder / "trace"), **options)
        rows = desk.rows(stage)
        told[stage] = {
            "rows": outcome.rows,
            "kept": sum(status == "kept" for status, _ in rows.values()),
            "loads": [
                row["load_seconds"] for row in desk.completions(stage) if row["load_seconds"] is not None
            ],
            "events": len(traced(folder / "trace")),
        }

    def four_wide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    (folder / "trace").mkdir()
    model = {"sleep": 0.02, "kill": "KILL", "kill_once": str(folder / "killed-once")}
    ask("first", 240, **model)
    # Functions of other stages run in workers of their own, and leave the engines alone.
    spark.range(0, 1000, 1, 8).mapInArrow(four_wide, "id long").count()
    ask("again", 240, **model)
    ask("killed", 240, {150: "KILL"}, **model)
    ask("other", 240, variant="another model", **model)
    placed = place(spark, desk.engines("x", 1000, {}, GPUS)[1].get("fake"))
    told["placement"] = {"workers": placed.workers, "notes": placed.notes}
    desk.lease.release()
    print(json.dumps(told))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
