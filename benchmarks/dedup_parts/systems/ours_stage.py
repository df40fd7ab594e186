"""webscale-rl's stage `deduplicate` on Delta tables: all documents at once, and nine tenths then one tenth.

Ingest and filter (every rule off) run before the clock starts.
"""

from __future__ import annotations

import json
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import common
import pyarrow as pa
import pyarrow.parquet as pq
import spark

_RULES_OFF = {
    "languages": [],
    **dict.fromkeys(
        (
            *("min_words", "max_words", "min_mean_word_length", "max_mean_word_length", "max_symbol_ratio"),
            *("min_letter_words", "max_repeated_lines", "max_repeated_line_characters"),
            *("max_repeated_ngrams", "max_boilerplate", "max_list_lines"),
        )
    ),
}


def main() -> None:
    """Run it."""
    given = common.arguments()
    from webscale_rl import Pipeline

    session = spark.session(given.work, given.options)
    config: dict[str, Any] = {"filter": _RULES_OFF, "ingest": {"max_chars": None}}
    if given.options.get("settings"):
        config["deduplicate"] = given.options["settings"]

    def batches(corpus: Path, name: str, conditions: list[str]) -> list[float]:
        warehouse = given.work / name
        shutil.rmtree(warehouse, ignore_errors=True)
        pipeline = Pipeline(config=config, warehouse=str(warehouse), spark=session)
        documents = session.read.parquet(str(corpus / "documents"))
        seconds = []
        for condition in conditions:
            pipeline.run(stages=("ingest", "filter"), inputs=documents.where(condition))
            started = time.time()
            pipeline.run(stages=("deduplicate",))
            seconds.append(time.time() - started)
        return seconds

    def result(name: str) -> None:
        pipeline = Pipeline(config=config, warehouse=str(given.work / name), spark=session)
        found = pipeline.sql(
            "SELECT d.source_id AS id, v.cluster_key AS cluster, v.status = 'kept' AS kept "
            "FROM documents d JOIN deduplicated v USING (document_key)"
        ).collect()
        columns = [list(column) for column in zip(*found, strict=True)]
        table = pa.table(columns, names=["id", "cluster", "kept"])
        pq.write_table(table, given.work / f"{name}.parquet")

    late = "pmod(xxhash64(id), 10) = 0"
    if given.warm:
        batches(given.warm, "warm", [f"NOT ({late})", late])
    ready = time.time()
    figures = {
        "once": batches(given.input, "once", ["true"]),
        "batches": batches(given.input, "batches", [f"NOT ({late})", late]),
    }
    done = time.time()
    for name in ("once", "batches"):
        result(name)
    given.report.write_text(
        json.dumps({"version": version("webscale-rl"), "ready": ready, "done": done, "figures": figures})
    )
    session.stop()


if __name__ == "__main__":
    main()
