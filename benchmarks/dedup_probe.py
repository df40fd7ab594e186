"""Where a batch should send its band keys to the kept index, and where the index should be shuffled with it.

    python benchmarks/dedup_probe.py --index 1000000 --batches 25000,100000,400000

The candidates step of a batch against an index, both ways, on random band keys: what it costs does not depend
on what the keys mean. Each way once to warm up with the smallest batch, then measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent.parent))

from pyspark.sql import DataFrame, SparkSession

from udfs.dedup.bands import ENTRY_DDL, PAIR_DDL, pairs_function, regroup_function, unpack_bands
from webscale_rl.spark.session import build_session
from webscale_rl.stages.deduplicate.near import LIMITS, entry_partitions

BANDS = 25


def random_keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Band keys for ids."""
    for batch in batches:
        ids = batch.column("id")
        random = np.random.default_rng(ids[0].as_py() if len(ids) else 0)
        keys = [random.bytes(4 * BANDS) for _ in range(len(ids))]
        yield pa.RecordBatch.from_arrays([ids, pa.array(keys, pa.binary())], ["id", "bands"])


def candidates(
    spark: SparkSession, index: DataFrame, batch: DataFrame, sizes: tuple[int, int], probe: bool
) -> float:
    """Seconds of the step."""
    documents, fresh = sizes
    started = time.monotonic()
    only = None
    if probe:
        chunks = batch.toArrow().column("bands").cast(pa.binary()).chunks
        only = unpack_bands(pa.concat_arrays(chunks), BANDS)
    partitions = entry_partitions(batch, fresh if probe else documents + fresh, BANDS)
    entries = batch.mapInArrow(regroup_function(BANDS, partitions, fresh=True), ENTRY_DDL).union(
        index.mapInArrow(regroup_function(BANDS, partitions, fresh=False, only=only), ENTRY_DDL)
    )
    entries.repartitionById(partitions, "partition").mapInArrow(
        pairs_function(BANDS, LIMITS), PAIR_DDL
    ).count()
    return time.monotonic() - started


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--index", type=int, default=1_000_000)
    parser.add_argument("--batches", default="25000,100000,400000")
    given = parser.parse_args()
    batches = [int(size) for size in given.batches.split(",")]
    spark = build_session(app_name="dedup-probe", master="local[2]", conf={"spark.driver.memory": "4g"})
    with tempfile.TemporaryDirectory() as folder:

        def made(name: str, start: int, count: int) -> DataFrame:
            ids = spark.range(start, start + count)
            ids.mapInArrow(random_keys, "id bigint, bands binary").write.parquet(f"{folder}/{name}")
            return spark.read.parquet(f"{folder}/{name}")

        index = made("index", 0, given.index)
        frames = [made(f"batch{size}", 1 << 40, size) for size in batches]
        for probe in (True, False):
            candidates(spark, index, frames[0], (given.index, batches[0]), probe)
        print(
            f"| batch against {given.index:,} | keys sent to the index s | index shuffled s |\n"
            "| --- | --- | --- |"
        )
        for size, frame in zip(batches, frames, strict=True):
            seconds = [candidates(spark, index, frame, (given.index, size), probe) for probe in (True, False)]
            print(f"| {size:,} | {seconds[0]:.1f} | {seconds[1]:.1f} |", flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
