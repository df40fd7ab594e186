"""webscale-rl's stage `deduplicate` on Delta tables: all documents at once, and ten elevenths then the rest.

Ingest and filter run before the clock starts; the filter is one that keeps everything and measures nothing.
Where only the batches are asked for, what all at once takes is what a rebuild takes after them: it judges
everything again, with the band keys kept.
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
from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def keep_all(documents: DataFrame, settings: Any) -> DataFrame:
    """In the place of `webscale_rl.stages.filter.stage.apply`."""
    return documents.select(
        "document_key",
        F.lit("kept").alias("status"),
        F.array().cast("array<string>").alias("reasons"),
        F.create_map().cast("map<string,double>").alias("metrics"),
        F.lit(None).cast("string").alias("language"),
    )


def main() -> None:
    """Run it."""
    given = common.arguments()
    from webscale_rl import Pipeline
    from webscale_rl.stages.filter import stage as filter

    session = spark.session(given.work, given.options)
    filter.apply = keep_all
    config: dict[str, Any] = {"filter": {"languages": []}, "ingest": {"max_chars": None}}
    if given.options.get("settings"):
        config["deduplicate"] = given.options["settings"]

    def batches(corpus: Path, name: str, conditions: list[str], rebuild: bool = False) -> list[float]:
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
        if rebuild:
            started = time.time()
            pipeline.run(stages=("deduplicate",), rebuild_duplicates=True)
            seconds.append(time.time() - started)
        return seconds

    def result(name: str) -> None:
        pipeline = Pipeline(config=config, warehouse=str(given.work / name), spark=session)
        found = pipeline.sql(
            "SELECT d.source_id AS id, max_by(v.cluster_key, v.run) AS cluster, "
            "max_by(v.status, v.run) = 'kept' AS kept "
            "FROM documents d JOIN deduplicated v USING (document_key) GROUP BY d.source_id"
        ).collect()
        columns = [list(column) for column in zip(*found, strict=True)]
        table = pa.table(columns, names=["id", "cluster", "kept"])
        pq.write_table(table, given.work / f"{name}.parquet")

    # A tenth of those that are there already.
    late = "pmod(xxhash64(id), 11) = 0"
    for _ in range(common.warm_rounds(given)):
        batches(given.warm, "warm", [f"NOT ({late})", late])
    ready = time.time()
    figures = {}
    if not given.options.get("only_batches"):
        figures["once"] = batches(given.input, "once", ["true"])
    figures["batches"] = batches(
        given.input, "batches", [f"NOT ({late})", late], rebuild=bool(given.options.get("only_batches"))
    )
    done = time.time()
    for name in figures:
        result(name)
    given.report.write_text(
        json.dumps({"version": version("webscale-rl"), "ready": ready, "done": done, "figures": figures})
    )
    session.stop()


if __name__ == "__main__":
    main()
