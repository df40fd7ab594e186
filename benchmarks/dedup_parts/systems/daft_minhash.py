"""Daft: its minhash expression, bands exploded and grouped as in its documentation; no verification.

Components: the edges are collected and joined by union-find in this process, which on one machine takes less
time than the rounds of joins that the documentation shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import common
import daft
from daft import col

BANDS, ROWS = 25, 8


def main() -> None:
    """Run it."""
    given = common.arguments()
    daft.set_runner_native()

    def work(corpus: Path, folder: Path) -> dict:
        numbered = daft.read_parquet(common.parts(corpus))._add_monotonically_increasing_id("node").collect()
        text = col("text").normalize(remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)
        bands = (
            numbered.select(
                col("node"),
                text.minhash(num_hashes=BANDS * ROWS, ngram_size=5, hash_function="xxhash").alias("m"),
            )
            .with_column("bands", col("m").chunk(ROWS))
            .with_column("band", daft.lit(list(range(BANDS))))
            .explode("bands", "band")
        )
        edges = (
            bands.groupby("band", "bands")
            .agg(col("node").list_agg().alias("nodes"))
            .with_column("u", col("nodes").list_min())
            .explode("nodes")
            .where(col("u") != col("nodes"))
            .select(col("u"), col("nodes").alias("v"))
            .distinct()
            .to_arrow()
        )
        root = common.roots(zip(edges.column(0).to_pylist(), edges.column(1).to_pylist(), strict=True))
        removed = daft.from_pydict({"node": [n for n, r in root.items() if n != r]}).with_column(
            "node", col("node").cast(daft.DataType.uint64())
        )
        numbered.join(removed, on="node", how="anti").exclude("node").write_parquet(str(folder / "kept"))
        names = numbered.select("node", "id").to_pydict()
        return {"root": root, "names": dict(zip(names["node"], names["id"], strict=True))}

    def collect(corpus: Path, folder: Path, gave: dict) -> Iterator[tuple[str, str, bool]]:
        for node, key in gave["names"].items():
            root = gave["root"].get(node, node)
            yield key, str(root), root == node

    common.run(given, version("daft"), work, collect)


if __name__ == "__main__":
    main()
