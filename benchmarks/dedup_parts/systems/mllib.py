"""Spark MLlib: MinHashLSH on hashed word 5-grams, in the same kind of session as ours.

Each of its hash tables is a single minimum, so bands of several rows cannot be had; three tables find a
pair of similarity 0.8 with probability 1 - 0.2^3 = 0.992, about what 25 bands of 8 rows do (0.990). Its join
compares whole sets, so it verifies. It has no clusters: the pairs are collected and joined in the driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import common
import pyspark
import spark

TABLES = 3
FEATURES = 1 << 24


def main() -> None:
    """Run it."""
    given = common.arguments()
    from pyspark.ml.feature import HashingTF, MinHashLSH, NGram, RegexTokenizer
    from pyspark.sql import functions as F

    # Java as it comes, not as our session has it: all of the work is in the JVM here.
    conf = {"spark.driver.extraJavaOptions": "", **given.options.get("conf", {})}
    session = spark.session(given.work, given.options | {"conf": conf})
    session.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")

    def work(corpus: Path, folder: Path) -> dict[str, str]:
        documents = session.read.parquet(str(corpus / "documents"))
        words = RegexTokenizer(
            inputCol="text", outputCol="words", pattern=r"[^\p{L}\p{N}]+", toLowercase=True
        ).transform(documents)
        shingles = NGram(n=5, inputCol="words", outputCol="shingles").transform(words)
        hashed = HashingTF(inputCol="shingles", outputCol="features", numFeatures=FEATURES, binary=True)
        # A set of no shingles is refused by the model.
        vectors = hashed.transform(shingles.where(F.size("shingles") > 0)).select("id", "features")
        model = MinHashLSH(
            inputCol="features", outputCol="hashes", numHashTables=TABLES, seed=given.options.get("seed", 1)
        ).fit(vectors)
        pairs = (
            model.approxSimilarityJoin(vectors, vectors, 0.2 + 1e-9, distCol="distance")
            .where("datasetA.id < datasetB.id")
            .select(F.col("datasetA.id").alias("a"), F.col("datasetB.id").alias("b"))
        )
        found = pairs.toPandas()
        names = sorted(set(found["a"]) | set(found["b"]))
        number = {name: n for n, name in enumerate(names)}
        root = common.roots((number[a], number[b]) for a, b in zip(found["a"], found["b"], strict=True))
        cluster = {names[n]: names[r] for n, r in root.items()}
        removed = session.createDataFrame([(k,) for k, r in cluster.items() if k != r], "id string")
        documents.join(F.broadcast(removed), "id", "left_anti").write.parquet(str(folder / "kept"))
        return cluster

    def collect(corpus: Path, folder: Path, gave: dict[str, str]) -> Iterator[tuple[str, str, bool]]:
        for key in common.identifiers(corpus):
            yield key, gave.get(key, key), gave.get(key, key) == key

    common.run(given, pyspark.__version__, work, collect)
    session.stop()


if __name__ == "__main__":
    main()
