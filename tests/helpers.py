"""What the tests of the core share: tiny documents, a pipeline with the fake engine, the funnel."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from webscale_rl import Pipeline
from webscale_rl.config.load import merge
from webscale_rl.report.status import StageStatus
from webscale_rl.stages.registry import STAGES, all_tables

ROOT = Path(__file__).parent.parent
# For processes that live for minutes: room for all that the compiler makes (it throws code away otherwise),
# and no small heap to start from.
JAVA_OPTIONS = "-XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m -XX:MetaspaceSize=256m -Xms1g -Xmn500m"
# What costs a small frame more than its rows do. Compiling each query (and planning it anew after each
# shuffle) pays for large ones only; tests/process/test_jobs.py runs
# the chain with Spark's own defaults.
SMALL_SESSION = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.stats.collect": "false",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "1000",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
}
SAMPLING = {
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "seed": 0,
}
# Every document ends with its own number, so that a prepared reply can be meant for one passage.
GOOD_VERDICT = {"reason": "", "correct": True, "self_contained": True, "leaks_answer": False}
GOOD_SCREEN = {
    "reason": "",
    "informative": True,
    "self_contained": True,
    "answerable": True,
    "domain": "natural_science",
    "personas": [
        {"name": "geology student", "interest": "Wants to know heights."},
        {"name": "travel writer", "interest": "Wants to know places."},
    ],
}


def document(number: int, extra: str = "") -> str:
    """A document of about thirty words that no other number gives."""
    return (
        f"Mount Number{number} stands in the west of its island and is {1000 + number} metres high. "
        f"Surveyors measured it in {1900 + number}, after two winters in the valley below. "
        f"{extra}The nearest village is called Hollow{number} End."
    )


def documents(count: int, extra: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
    """Rows of JSON lines with id and text."""
    return [
        {"id": f"doc-{n}", "title": f"Mount {n}", "text": document(n, (extra or {}).get(n, ""))}
        for n in range(count)
    ]


def about(number: int) -> str:
    """The end of a document's prompt part: with what follows it names one document and one step."""
    return f"called Hollow{number} End.\n</document>\n\n"


def prepared(count: int, generate: Mapping[int, Any] | None = None) -> dict[str, str]:
    """Replies of a good model for the documents 0 to count - 1, as the fake engine takes them.

    Args:
        generate: replies of the generate step that differ, by document.
    """
    replies: dict[str, str] = {"Examine this pair": json.dumps(GOOD_VERDICT)}
    for n in range(count):
        replies[about(n) + "Judge the document"] = json.dumps(GOOD_SCREEN)
        for persona, what in (("geology student", "height"), ("travel writer", "village")):
            reply = {
                "question": f"How high in metres is the mountain called Mount Number{n}?"
                if what == "height"
                else f"Which village is the nearest one to Mount Number{n}?",
                "answer": f"{1000 + n} metres" if what == "height" else f"Hollow{n} End",
                "answer_type": "number" if what == "height" else "name",
                "quotation": f"is {1000 + n} metres high"
                if what == "height"
                else f"The nearest village is called Hollow{n} End.",
            }
            own = (generate or {}).get(n, reply)
            replies[about(n) + f"Reader: {persona}"] = own if isinstance(own, str) else json.dumps(own)
        replies[about(n) + "Question: How high"] = json.dumps({"answer": f"{1000 + n} metres"})
        replies[about(n) + "Question: Which village"] = json.dumps({"answer": f"Hollow{n} End"})
    return replies


def configuration(log: Path | str, **options: Any) -> dict[str, Any]:
    """A configuration in which the fake engine does everything that a model does.

    Args:
        log: the fake's log: one line a call.
        options: more options of `tests.fakes.FakeEngine`.
    """
    fake = {
        "engine": "tests.fakes:FakeEngine",
        "options": {"log": str(log), **options},
        "workers": None,
        "chunk_tokens": 100_000,
        "prices": {"prompt": 1.0, "cached": 0.1, "completion": 2.0},
    }
    return {
        "engines": {"fake": fake},
        "filter": {"min_words": 10, "languages": []},
        # The documents of tests differ in a few words.
        "deduplicate": {"method": "exact"},
        "screen": {"engine": "fake", "method": "prompt", "prompt": "screen_identify"},
        "identify": {"engine": "fake", "method": "prompt", "prompt": "screen_identify"},
        "generate": {
            "engine": "fake",
            "strategy": "question_first",
            "prompt": "generate_question_first",
        },
        "check": {
            "gates": ["lengths", "duplicate_question", "round_trip", "judge"],
            "round_trip": {"engine": "fake", "method": "free", "prompt": "answer"},
            "judge": {"engine": "fake", "method": "prompt", "prompt": "judge"},
        },
    }


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_pipeline(
    spark: SparkSession,
    folder: Path,
    rows: Sequence[Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Pipeline:
    """A pipeline over ``folder``: warehouse ``wh``, documents ``in.jsonl``, engine log ``log``.

    Args:
        rows: documents to write there; None leaves what is there.
        settings: what differs from `configuration`.
        options: options of the fake engine.
    """
    source = folder / "in.jsonl"
    if rows is not None:
        write_lines(source, rows)
    values = configuration(folder / "log", **options)
    values["sources"] = [{"name": "test", "paths": [str(source)], "format": "json"}]
    values["warehouse"] = str(folder / "wh")
    merge(values, settings or {})
    return Pipeline(config=values, spark=spark)


def by_stage(statuses: Iterable[StageStatus]) -> dict[str, StageStatus]:
    """The funnel by stage, each line of which must add up."""
    found = {status.stage: status for status in statuses}
    for status in found.values():
        assert status.rows_in == status.kept + status.rejected + status.pending, status
    return found


def collected(rows: DataFrame) -> list[dict[str, Any]]:
    """Rows as plain dictionaries."""
    return [row.asDict(recursive=True) for row in rows.collect()]


#: The stages' names in order, the name of each stage's table, and every table by name.
STAGE_NAMES = STAGES.names
STAGE_TABLE = {stage.name: stage.table.name for stage in STAGES}
TABLES = all_tables()
