"""A run that is killed in the middle of deduplicate, and goes on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.helpers import SMALL_SESSION, collected, write_lines
from tests.process.test_kills import Process
from tests.stages.test_deduplicate import planted
from webscale_rl import Pipeline

pytestmark = pytest.mark.process

STAGES = ("ingest", "filter", "deduplicate")


def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(spark: SparkSession, tmp_path: Path) -> None:
    texts = planted(60, 3)
    write_lines(tmp_path / "in.jsonl", [{"id": key, "text": text} for key, text in texts.items()])
    values = {
        "filter": {"languages": []},
        "sources": [{"name": "test", "paths": ["in.jsonl"], "format": "json"}],
        "warehouse": str(tmp_path / "killed"),
        "spark": {
            "master": "local[2,2]",
            "conf": SMALL_SESSION,
        },
    }
    (tmp_path / "config.yml").write_text(json.dumps(values), encoding="utf-8")
    # After the index was extended; and after everything was judged, before a verdict was written.
    for options, point in (
        (("--until", "deduplicate"), "bands_written"),
        (("--stage", "deduplicate"), "duplicates_judged"),
    ):
        run = Process(tmp_path, *options, point=point)
        run.wait_for_point(point)
        run.kill()
    config = str(tmp_path / "config.yml")
    killed = Pipeline(config=config, spark=spark)
    table = killed.open().read
    assert table("band_index").count() > 0
    assert table("deduplicated").count() == 0
    killed.run(stages=STAGES)
    whole = Pipeline(config=config, warehouse=str(tmp_path / "whole"), spark=spark)
    whole.run(stages=STAGES)

    def verdicts(pipeline: Pipeline) -> list[dict[str, object]]:
        rows = collected(pipeline.open().read("deduplicated").drop("run", "ingest_commit"))
        return sorted(rows, key=lambda row: str(row["document_key"]))

    assert verdicts(killed) == verdicts(whole)
    assert len(verdicts(whole)) == len(texts)
    assert any(row["method"] == "near" for row in verdicts(whole))
    ids = Counter(row["id"] for row in collected(table("band_index").select("id")))
    assert set(ids.values()) == {1}
