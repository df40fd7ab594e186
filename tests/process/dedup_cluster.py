"""Run by test_dedup_cluster.py in a process of its own: near-duplicate removal in two batches on some master.

    python tests/process/dedup_cluster.py FOLDER MASTER

Prints one JSON object: by document identifier its status, reasons and the document that stands for it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tests.helpers import ROOT, SMALL_SESSION, write_lines
from webscale_rl import Pipeline
from webscale_rl.spark.session import build_session

WORDS = 4000
CONF = {
    "spark.executor.memory": "1g",
    "spark.executorEnv.PYTHONPATH": str(ROOT),
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def texts(count: int, copies: int) -> list[dict[str, str]]:
    """Documents of random words, and near copies of the first ones: one word in the middle is another."""
    chance = random.Random(4)
    found = [[f"w{chance.randrange(WORDS)}" for _ in range(120)] for _ in range(count)]
    for number in range(copies):
        found.append([*found[number][:60], "other", *found[number][61:]])
    return [{"id": f"d{number:04}", "text": " ".join(words)} for number, words in enumerate(found)]


def main(folder: Path, master: str) -> None:
    spark = build_session(app_name="dedup", master=master, conf=SMALL_SESSION | CONF)
    rows = texts(400, 120)
    settings = {
        "filter": {"languages": [], "min_words": 1, "max_mean_word_length": 100, "min_mean_word_length": 0},
        "sources": [{"name": "s", "paths": [str(folder / "in")], "format": "json"}],
        "warehouse": str(folder / "wh"),
    }
    # The second batch has copies of documents of the first.
    for number, batch in enumerate((rows[:450], rows[450:])):
        write_lines(folder / "in" / f"{number}.jsonl", batch)
        Pipeline(config=settings, spark=spark).run(stages=("ingest", "filter", "deduplicate"))
    pipeline = Pipeline(config=settings, spark=spark)
    found = pipeline.sql(
        "SELECT d.source_id AS id, v.status AS status, v.reasons AS reasons, r.source_id AS representative "
        "FROM documents d JOIN deduplicated v USING (document_key) "
        "LEFT JOIN documents r ON r.document_key = v.representative_key"
    ).collect()
    print(json.dumps({row["id"]: [row["status"], row["reasons"], row["representative"]] for row in found}))
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
