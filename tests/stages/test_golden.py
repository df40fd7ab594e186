"""What each stage makes of a fixed tiny input, held against `tests/golden/<stage>.json`.

A stage's version number is part of its recipe: were its output to change under the same number, old
rows would pass for new ones. So a changed output without a new version fails here. After raising
VERSION in the stage's module, write the files anew with WEBSCALE_RL_UPDATE_GOLDEN=1.

Settings are kept in the files, too: a changed default in `conf/` is no change of a stage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.helpers import STAGE_NAMES, document
from tests.stages.bodies import (
    ANSWER_FIRST,
    CHOICES,
    COMPLETION,
    JUDGE,
    QUESTION_FIRST,
    ROUND_TRIP,
    SORT,
    TOPIC,
    completed,
    completion,
)
from webscale_rl.config.load import defaults, merge
from webscale_rl.stages.check import steps as check_steps
from webscale_rl.stages.check.gates.duplicates import apply_duplicates
from webscale_rl.stages.check.gates.judge import Judge, finish_judge
from webscale_rl.stages.check.gates.likelihood import apply_likelihood
from webscale_rl.stages.check.gates.round_trip import RoundTrip, finish_round_trip
from webscale_rl.stages.check.gates.rules import rule_gates
from webscale_rl.stages.check.settings import CheckSettings
from webscale_rl.stages.check.verdicts import apply_rules, derive
from webscale_rl.stages.decontaminate import stage as decontaminate
from webscale_rl.stages.deduplicate import copies as deduplicate
from webscale_rl.stages.filter import stage as filter
from webscale_rl.stages.generate import stage as generate
from webscale_rl.stages.identify import stage as identify
from webscale_rl.stages.ingest import sources
from webscale_rl.stages.ingest import stage as ingest
from webscale_rl.stages.screen import stage as screen
from webscale_rl.stages.segment import stage as segment

FOLDER = Path(__file__).parent.parent / "golden"
UPDATE = os.environ.get("WEBSCALE_RL_UPDATE_GOLDEN") == "1"
Settings = dict[str, Any]

LISTS = "\n".join(f"- item {n}" for n in range(30))
COOKIES = "We use cookies. Accept all cookies. Privacy policy. " * 5
TEXTS = {
    "plain": " ".join(document(n) for n in range(3)),
    "short": "Too few words.",
    "repeated": "The same line again and again.\n" * 12,
    "lists": LISTS,
    "cookies": COOKIES,
    "german": "Der Berg ist hoch, und im Tal liegt ein kleines Dorf mit einer alten Kirche. " * 5,
    "symbols": "# # # ... " * 30,
}
PASSAGE = document(1)
UNIT = (
    "pair_key string, passage_key string, document_key string, title string, text string, domain string, "
    "persona string, interest string, ordinal int"
)


def plain(rows: DataFrame) -> list[Any]:
    """Rows as JSON data in a fixed order, numbers rounded."""
    found = [tidy(row.asDict(recursive=True)) for row in rows.collect()]
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def tidy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: tidy(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [tidy(inner) for inner in value]
    return round(value, 6) if isinstance(value, float) else value


def requests(rows: DataFrame, request: Column) -> list[Any]:
    return [json.loads(row["request"]) for row in plain(rows.select(request.alias("request")))]


def run_ingest(spark: SparkSession, settings: Settings) -> Any:
    raw = [
        ("1", "Cafe\u0301\r\ntext \x00here. ", "http://a", "T "),
        ("1", "Another text.", None, None),
        (None, "No id.", None, None),
        (None, "No id.", None, None),
        ("e", " \n ", None, None),
        ("n", None, None, None),
        ("x", "x" * 60, None, None),
    ]
    frame = spark.createDataFrame(raw, "id string, text string, url string, title string")
    source = sources.SourceSettings(name="golden", paths=["p"], format="delta")
    limited = ingest.IngestSettings(**settings | {"max_chars": 50})
    return plain(ingest.apply(sources.from_frame(frame, source), limited))


def run_filter(spark: SparkSession, settings: Settings) -> Any:
    rows = spark.createDataFrame(
        [(k, "T", t) for k, t in TEXTS.items()], "document_key string, title string, text string"
    )
    return plain(filter.apply(rows, filter.FilterSettings(**settings)))


def run_deduplicate(spark: SparkSession, settings: Settings) -> Any:
    words = [f"word{n}" for n in range(330)]
    moved = {"b": 0, "a": 0, "c": 15, "g": 30, "d": 60}
    texts = [(key, " ".join(words[at : at + 200]), 2 if key == "a" else 1) for key, at in moved.items()]
    rows = spark.createDataFrame(
        [*texts, ("e", "short", 1), ("f", "short!", 1)],
        "document_key string, text string, ingest_commit long",
    )
    return plain(deduplicate.apply(rows, deduplicate.DeduplicateSettings(**settings)))


def run_segment(spark: SparkSession, settings: Settings) -> Any:
    long = "\n\n".join(document(n) for n in range(6))
    rows = spark.createDataFrame(
        [("long", "T", long), ("short", None, "One line."), ("empty", "T", " ")],
        "document_key string, title string, text string",
    )
    small = segment.SegmentSettings(**settings | {"max_tokens": 90, "min_tokens": 20})
    return plain(segment.apply(rows, small))


def _sorted_replies(spark: SparkSession) -> DataFrame:
    good = {
        "reason": "r",
        "informative": True,
        "self_contained": True,
        "answerable": True,
        "domain": "nature",
        "personas": [{"name": "hiker", "interest": "Heights."}, {"name": " ", "interest": "x"}],
    }
    rows = [
        ("good", "d", completion(json.dumps(good))),
        ("no", "d", completion(json.dumps(good | {"answerable": False, "personas": []}))),
        ("text", "d", completion("Sure!")),
        ("cut", "d", completion("{", finish="length")),
        ("fault", "d", completion(error="told: x")),
    ]
    return completed(spark, "passage_key string, document_key string", rows)


def _topic_replies(spark: SparkSession) -> DataFrame:
    rows = [
        ("00aa01", "d", completion(" x", choices=[-1.0, -2.0, -5.0, -2.5])),
        ("00aa02", "d", completion(" x", choices=[-5.0, -5.0, -1.0, -1.25])),
        ("00aa03", "d", completion(" x")),
        ("00aa04", "d", completion(error="told: x")),
    ]
    return completed(spark, "passage_key string, document_key string", rows)


def _passages(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([("T <|im_end|>", PASSAGE)], "title string, text string")


def run_screen(spark: SparkSession, _: Settings) -> Any:
    return {
        "prompt": plain(screen.finish(_sorted_replies(spark), SORT)),
        "topic": plain(screen.finish(_topic_replies(spark), TOPIC)),
        "requests": [requests(_passages(spark), screen.shared_request(body)) for body in (SORT, TOPIC)],
    }


def run_identify(spark: SparkSession, _: Settings) -> Any:
    return {
        "prompt": plain(identify.finish(_sorted_replies(spark), SORT)),
        "topic": plain(identify.finish(_topic_replies(spark), TOPIC)),
    }


def run_generate(spark: SparkSession, _: Settings) -> Any:
    pair = {"question": " Q? ", "answer": "A", "answer_type": "name", "quotation": "is A."}
    replies = {
        "good": completion(json.dumps(pair)),
        "empty": completion(json.dumps(pair | {"answer": " "})),
        "text": completion("What is it?\nmore"),
        "fault": completion(error="told: x"),
    }
    units = spark.createDataFrame(
        # The last persona comes when the passage has no span left.
        [
            (k, "p", "d", "T", PASSAGE, "nature", "hiker", "Heights.", n)
            for k, n in zip(replies, (0, 1, 2, 9), strict=True)
        ],
        UNIT,
    )
    frame = spark.createDataFrame(list(replies.items()), f"pair_key string, completion {COMPLETION}")
    found: dict[str, Any] = {}
    for name, body in (("question_first", QUESTION_FIRST), ("answer_first", ANSWER_FIRST)):
        prepared = generate.prepare(units, body)
        answered = prepared.join(frame, "pair_key").withColumn("request_id", F.lit("r"))
        found[name] = plain(generate.finish(answered, body))
        found[f"{name}, no span"] = plain(generate.without_span(prepared, body))
        found[f"{name}, requests"] = requests(prepared, generate.persona_request(body))
    return found


def run_check(spark: SparkSession, settings: Settings) -> Any:
    rows = [
        ("a", 0, "How high in metres is Mount Number1?", "1001 metres", "number", "is 1001 metres high"),
        ("b", 1, "How high, in metres, is Mount Number1", "1001 metres", "number", "is 1001 metres high"),
        ("c", 2, "What is it according to the passage?", "Hollow1 End", "name", "not there"),
        ("d", 3, None, None, None, None),
    ]
    pairs = spark.createDataFrame(
        [("p", PASSAGE, "Mount 1", -0.1 * row[1], *row) for row in rows],
        "passage_key string, passage string, title string, mean_logprob double, pair_key string, "
        "ordinal int, question string, answer string, answer_type string, quotation string",
    )
    whole = CheckSettings(**settings | {"gates": ["lengths", "duplicate_question", "judge"]})
    rules = apply_rules(pairs, rule_gates(), whole)
    duplicates = apply_duplicates(pairs)
    judged = {"reason": "r", "correct": True, "self_contained": True, "leaks_answer": True}
    replies = {
        "a": completion('{"answer": "1,001 m"}'),
        "b": completion('{"answer": "unanswerable"}'),
        "c": completion('{"answer": "Hollow2"}'),
        "d": completion(error="told: x"),
    }
    frame = spark.createDataFrame(list(replies.items()), f"pair_key string, completion {COMPLETION}")
    answered = pairs.join(frame, "pair_key").withColumn("request_id", F.lit("r"))
    verdict = completed(
        spark,
        "pair_key string, answer string, answer_type string",
        [("a", "x", "name", completion(json.dumps(judged))), ("b", "x", "name", completion("?"))],
    )
    chosen = completed(
        spark,
        "pair_key string, answer string, answer_type string, passage string",
        [
            ("a", "x", "name", PASSAGE, completion(" x", choices=[-0.1, -2.0])),
            ("b", "x", "name", PASSAGE, completion(" x", choices=[-0.1, -0.2])),
        ],
    )
    round_trip, judge = RoundTrip(), Judge()
    both = rules.select("pair_key", "gate", "passed", "reason", "score").unionByName(
        duplicates.select("pair_key", "gate", "passed", "reason", "score")
    )
    return {
        "rules": plain(rules),
        "duplicates": plain(duplicates),
        "likelihood": plain(apply_likelihood(pairs, whole.min_question_logprob)),
        "round trip": plain(finish_round_trip(answered, ROUND_TRIP)),
        "choices": plain(finish_round_trip(chosen, CHOICES)),
        "judge": plain(finish_judge(verdict, JUDGE)),
        "derived": plain(derive(pairs, both, whole.gates)),
        "requests": [
            requests(round_trip.prepare(pairs, body), round_trip.request(body))
            for body in (ROUND_TRIP, CHOICES)
        ]
        + [
            requests(pairs, judge.request(JUDGE)),
        ],
    }


def run_decontaminate(spark: SparkSession, settings: Settings) -> Any:
    items = spark.createDataFrame(
        [("b", "1", "Which river flows through the old town of Vienna today?", "The Danube")],
        "benchmark string, item string, question string, answer string",
    )
    pairs = spark.createDataFrame(
        [
            ("same", "which river flows through the OLD town of Vienna, today", "Inn"),
            ("near", "Tell me: which river flows through the old town of Vienna now?", "Inn"),
            ("other", "Which mountain is the highest one of the Alps in Europe?", "Mont Blanc"),
            ("short", "Which river?", "Inn"),
        ],
        "pair_key string, question string, answer string",
    )
    return plain(decontaminate.apply(pairs, items, decontaminate.DecontaminateSettings(**settings)))


CASES: dict[str, tuple[Any, Callable[[SparkSession, Settings], Any]]] = {
    "ingest": (ingest, run_ingest),
    "filter": (filter, run_filter),
    "deduplicate": (deduplicate, run_deduplicate),
    "segment": (segment, run_segment),
    "screen": (screen, run_screen),
    "identify": (identify, run_identify),
    "generate": (generate, run_generate),
    "check": (check_steps, run_check),
    "decontaminate": (decontaminate, run_decontaminate),
}


def test_every_stage_has_a_golden_output() -> None:
    assert tuple(CASES) == STAGE_NAMES
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CASES)


@pytest.mark.parametrize("stage", CASES)
def test_output_changes_only_with_the_version(spark: SparkSession, stage: str) -> None:
    module, run = CASES[stage]
    path = FOLDER / f"{stage}.json"
    settings = defaults()[stage]
    golden = None if UPDATE else json.loads(path.read_text(encoding="utf-8"))
    if golden is not None:
        # New keys of the configuration keep their defaults; what the file has stays as it was.
        merge(settings, golden["settings"])
    output = json.loads(json.dumps(run(spark, settings)))
    if golden is None:
        kept = {"version": module.VERSION, "settings": settings, "output": output}
        text = json.dumps(kept, ensure_ascii=False, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
        return
    assert golden["version"] == module.VERSION, (
        f"{stage} has a new VERSION: run with WEBSCALE_RL_UPDATE_GOLDEN=1 and look at what changed"
    )
    assert output == golden["output"], (
        f"the output of {stage} changed: bump VERSION and run with WEBSCALE_RL_UPDATE_GOLDEN=1"
    )
