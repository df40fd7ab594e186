"""webscale-rl: `find_duplicates` from Parquet to Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import common
import pyarrow.parquet as pq
import spark


def main() -> None:
    """Run it."""
    given = common.arguments()
    from webscale_rl.stages.deduplicate.copies import DeduplicateSettings, find_duplicates

    session = spark.session(given.work, given.options)
    settings = DeduplicateSettings(**given.options.get("settings", {}))

    def work(corpus: Path, folder: Path) -> None:
        documents = session.read.parquet(str(corpus / "documents"))
        verdicts = find_duplicates(documents, key="id", text="text", settings=settings)
        verdicts.write.parquet(str(folder / "verdicts"))

    def collect(corpus: Path, folder: Path, gave: None) -> Iterator[tuple[str, str, bool]]:
        found = pq.read_table(folder / "verdicts", columns=["id", "cluster_key", "status"])
        for key, cluster, status in zip(*(column.to_pylist() for column in found.columns), strict=True):
            yield key, cluster or key, status == "kept"

    common.run(given, version("webscale-rl"), work, collect)
    session.stop()


if __name__ == "__main__":
    main()
