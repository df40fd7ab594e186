"""show: one pair's, passage's or document's whole life, from a warehouse alone.

Two runs over one warehouse: the capable model's way, then the small model's, so that the first run's
rows are of earlier recipes in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.helpers import document, documents, make_pipeline, prepared
from webscale_rl import Pipeline
from webscale_rl.errors import UserError
from webscale_rl.recipes import canonical_json, sha256_text
from webscale_rl.report import layout
from webscale_rl.report.requests import Asked, render
from webscale_rl.report.show import show

SHORT = "Only eight words stand in this short text."
ROWS = [*documents(2), {"id": "copy", "text": document(0)}, {"id": "short", "text": SHORT, "url": "file:s"}]
# The second document's pairs cannot be read.
REPLIES = prepared(2, {1: "no JSON at all"})
SMALL = {
    "screen": {"method": "topic", "prompt": "small_topic", "min_margin": -100.0},
    "identify": {"method": "topic", "prompt": "small_topic", "max_personas": 1},
    "generate": {"strategy": "answer_first", "prompt": "small_question"},
    "check": {
        "gates": ["lengths", "round_trip"],
        "round_trip": {"method": "choices", "prompt": "small_answer", "min_margin": 0.0},
    },
}


@dataclass
class Shown:
    """A pipeline over the warehouse, and what was shown after the first run."""

    pipeline: Pipeline
    rows: dict[str, dict[str, Any]]
    first: dict[str, str]


def pairs_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    rows = pipeline.open().read("pairs").orderBy("run", "status", "ordinal")
    return [row.asDict(recursive=True) for row in rows.collect()]


@pytest.fixture(scope="module")
def shown(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("show")
    capable = make_pipeline(spark, folder, ROWS, replies=REPLIES)
    capable.run()
    good, _, bad, _ = pairs_of(capable)
    ids = {
        row["source_id"]: row.asDict()
        for row in capable.open().read("documents").select("source_id", "document_key", "run").collect()
    }
    # From the warehouse alone: neither the prompts nor the engine of the configuration are looked at.
    bare = Pipeline(warehouse=str(folder / "wh"), spark=spark)
    first = {
        "good": show(bare, good["pair_key"]),
        "bad": show(bare, bad["pair_key"][:16]),
        "document": show(bare, good["document_key"]),
    }
    make_pipeline(spark, folder, None, SMALL, replies=REPLIES).run(limit=3)
    yield Shown(bare, {"good": good, "bad": bad, **ids}, first)


def test_a_pair_is_shown_from_source_to_product(shown: Shown) -> None:
    text = shown.first["good"]
    order = [
        f"pair {shown.rows['good']['pair_key']}",
        "accepted: it stands in qa_pairs",
        "source        test",
        "identifier    doc-0",
        "licence       unknown",
        "title         Mount 0",
        "filter        kept",
        "deduplicate   kept",
        "passage: number 0",
        "The nearest village is called Hollow0 End.",
        "screen: kept",
        "[system]",
        "<document>",
        "Judge the document",
        '"informative": true',
        "identify: kept",
        "natural_science",
        "the request and the reply of screen, above",
        "generate: kept",
        "strategy      question_first",
        "Reader: geology student",
        '"answer_type": "number"',
        "check: kept",
        "lengths              passed",
        "duplicate_question   passed",
        "round_trip           passed; score 1; saw: 1000 metres",
        "Question: How high in metres",
        '{"answer": "1000 metres"}',
        "judge                passed",
        "Examine this pair",
        "decontaminate: kept",
    ]
    at = 0
    for part in order:
        found = text.find(part, at)
        assert found >= 0, f"{part!r} is missing, or out of order:\n{text}"
        at = found
    assert "NOT what was sent" not in text
    assert max(map(len, text.split("\n"))) <= layout.WIDTH


def test_a_rejected_pair_says_where_and_shows_the_reply(shown: Shown) -> None:
    text = shown.first["bad"]
    assert "not in qa_pairs: rejected by generate (" in text
    assert "no JSON at all" in text
    assert "check: pending" not in text
    assert "check: not reached" in text


def test_a_document_is_shown_with_its_passages_and_pairs(shown: Shown) -> None:
    text = shown.first["document"]
    assert "Surveyors measured it in 1900" in text
    assert "passages: 1" in text
    assert "natural_science for geology student, travel writer" in text
    assert "pairs: 2" in text
    assert "generate kept; check kept; decontaminate kept" in text
    assert "Q: Which village is the nearest one to Mount Number0?" in text


def test_rejected_documents_and_copies_say_why(shown: Shown) -> None:
    short = show(shown.pipeline, shown.rows["short"]["document_key"])
    assert "filter        rejected: too_short" in short
    assert "url           file:s" in short
    assert SHORT in short
    assert "deduplicate" not in short
    keys = [shown.rows[name]["document_key"] for name in ("doc-0", "copy")]
    texts = [show(shown.pipeline, key) for key in keys]
    copies = [text for text in texts if "stands for it (exact)" in text]
    assert len(copies) == 1
    assert "passages: 0" in copies[0]


def test_a_passage_is_shown_under_the_recipes_in_force(shown: Shown) -> None:
    text = show(shown.pipeline, shown.rows["bad"]["passage_key"])
    assert text.startswith("passage ")
    assert "The text above is about" in text
    assert "86 choices" in text
    assert "less likely ones" in text
    assert "NOT what was sent" not in text


def test_the_small_models_way_is_rendered_again(shown: Shown) -> None:
    warehouse = shown.pipeline.open()
    asked = warehouse.read("gate_verdicts").where("gate = 'round_trip' AND passed IS NOT NULL")
    newest = asked.join(
        warehouse.read("pairs").where("strategy = 'answer_first'").select("pair_key"), "pair_key"
    )
    key = newest.select(F.min("pair_key").alias("key")).collect()[0]["key"]
    text = show(shown.pipeline, key)
    assert "strategy      answer_first" in text
    assert "Each question asks for the answer and names its subject in full." in text
    assert "choices   " in text
    assert "NOT what was sent" not in text


def test_a_pair_of_an_earlier_recipe_says_so(shown: Shown) -> None:
    text = show(shown.pipeline, shown.rows["good"]["pair_key"])
    assert "generate: kept (under an earlier recipe)" in text
    assert "not in qa_pairs: it was made or judged under an earlier recipe" in text
    # What was sent is rendered from the recipe of then, whatever is in force now.
    assert "Reader: geology student" in text
    assert '{"answer": "1000 metres"}' in text
    assert "NOT what was sent" not in text


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "is no key"), ("Mount 1", "is no key"), ("f" * 64, "has a key that begins with")],
)
def test_what_names_nothing_is_one_line(shown: Shown, key: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        show(shown.pipeline, key)
    assert "\n" not in str(error.value)


def test_a_beginning_that_several_keys_have_lists_them(shown: Shown) -> None:
    warehouse = shown.pipeline.open()
    keys = [row[0] for row in warehouse.read("documents").select("document_key").collect()]
    keys += [row[0] for row in warehouse.read("pairs").select("pair_key").collect()]
    keys += [row[0] for row in warehouse.read("passages").select("passage_key").collect()]
    first = [key[0] for key in set(keys)]
    shared = next((letter for letter in first if first.count(letter) > 1), None)
    if shared is None:
        pytest.skip("no two keys of so few begin alike")
    with pytest.raises(UserError, match=rf"several keys begin with {shared}: [0-9a-f]{{12}} \("):
        show(shown.pipeline, shared)


def test_a_changed_recipe_is_noticed(shown: Shown) -> None:
    """The sha256 of what is rendered is the request's key, and another body gives another."""
    warehouse = shown.pipeline.open()
    good = shown.rows["good"]
    passage = warehouse.read("passages").where(F.col("passage_key") == good["passage_key"]).collect()[0]
    recipe = warehouse.read("recipes").where(F.col("recipe") == good["recipe"]).collect()[0]
    body = json.loads(recipe["body"])
    subject = good | {"title": passage["title"], "text": passage["text"]}
    other = body | {"sampling": body["sampling"] | {"seed": 1}}
    broken = {name: value for name, value in body.items() if name != "prompt"}
    same, changed, unknown = render(
        warehouse.spark, [Asked(body, subject), Asked(other, subject), Asked(broken, subject)]
    )
    assert same.request_id == good["request_id"]
    assert same.request is not None
    assert sha256_text(canonical_json(same.request)) == good["request_id"]
    assert changed.request_id not in (None, good["request_id"])
    assert unknown.request is None
    assert "of another version" in unknown.problem


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert layout.printable("a\x1b[2Jb\r\nc\td\x9b\u202e") == "a\ufffd[2Jb\nc\td\ufffd\ufffd"
    assert layout.clipped("one\ntwo \x07three", 9) == "one two \u2026"
    lines = layout.block("  def f():\n    return " + "x " * 80, 4)
    assert lines[0] == "      def f():"
    assert all(line.startswith("        ") for line in lines[1:])
    assert max(map(len, lines)) <= layout.WIDTH
    assert layout.number(16990.2) == "16990"
    assert layout.field("name", None) == []
