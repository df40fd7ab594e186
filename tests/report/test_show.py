"""show: one pair's, passage's or document's whole life, from a warehouse alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.smallrun import CLIMB, NO_JSON, SHORT, SURVEY, SmallRun
from webscale_rl import Pipeline
from webscale_rl.core.fingerprint import canonical_json, sha256_text
from webscale_rl.core.stage import Subject
from webscale_rl.errors import UserError
from webscale_rl.report.exchange import exchange
from webscale_rl.report.history import Answered, History, resolve
from webscale_rl.report.requests import Asked, Rendered, render
from webscale_rl.report.show import show
from webscale_rl.storage.warehouse import Warehouse
from webscale_rl.text import layout


@dataclass
class Read:
    """A pipeline over the run's warehouse, and its rows by a name."""

    pipeline: Pipeline
    documents: dict[str, dict[str, Any]]
    good: dict[str, Any]
    bad: dict[str, Any]


@pytest.fixture(scope="module")
def read(spark: SparkSession, small_run: SmallRun) -> Read:
    # From the warehouse alone: the configuration's prompts and engines are not looked at.
    pipeline = Pipeline(warehouse=str(small_run.folder / "wh"), spark=spark)
    tables = pipeline.open()
    pairs = [row.asDict(recursive=True) for row in tables.read("pairs").orderBy("ordinal").collect()]
    documents = tables.read("documents").select("source_id", "document_key").collect()
    return Read(pipeline, {row["source_id"]: row.asDict() for row in documents}, *pairs)


def flat(text: str) -> str:
    """The text with its layout undone, so that a wrapped line is found."""
    return " ".join(text.split())


def test_a_pair_is_shown_from_source_to_product(read: Read) -> None:
    text = show(read.pipeline.open(), read.good["pair_key"])
    order = [
        f"pair {read.good['pair_key']}",
        "accepted: it is in qa_pairs",
        "source test",
        "licence unknown",
        "title Mount 0",
        "filter kept",
        "deduplicate kept",
        "passage: number 0",
        "The nearest village is called Hollow0 End.",
        "screen: kept",
        "informative yes",
        "[system]",
        "<document>",
        "Judge the document",
        '"informative": true',
        "identify: kept",
        "natural_science",
        "the request and the reply of screen, above",
        "generate: kept",
        "strategy answer_first",
        f"question In what year {SURVEY}",
        "answer 1900",
        "Each question asks for the answer",
        "Question: In what year",
        "reply (stop,",
        SURVEY,
        "check: kept",
        "lengths passed",
        "round_trip passed",
        "2 choices",
        f"Question: In what year {SURVEY}",
        "choices 1900 -0.5, 1850",
        "judge passed",
        "Examine this pair",
        '"correct": true',
        "decontaminate: kept",
    ]
    at, said = 0, flat(text)
    for part in order:
        found = said.find(part, at)
        assert found >= 0, f"{part!r} is missing, or out of order:\n{text}"
        at = found
    assert "NOT what was sent" not in text
    assert max(map(len, text.split("\n"))) <= layout.WIDTH


def test_a_rejected_pair_says_where_and_what_the_gate_saw(read: Read) -> None:
    text = flat(show(read.pipeline.open(), read.bad["pair_key"][:20]))
    assert "not in qa_pairs: rejected by check (answer_not_confirmed)" in text
    assert "round_trip failed: answer_not_confirmed" in text
    assert "saw: 1900" in text
    assert f"Question: In what year {CLIMB}" in text
    assert "judge did not run" in text
    assert "decontaminate: not reached" in text


def test_a_document_is_shown_with_its_passages_and_pairs(read: Read) -> None:
    text = flat(show(read.pipeline.open(), read.good["document_key"]))
    assert "Surveyors measured it in 1900" in text
    assert "passages: 1" in text
    assert "natural_science for geology student, travel" in text
    assert "pairs: 2" in text
    assert "generate kept; check kept; decontaminate kept" in text
    assert "generate kept; check rejected: answer_not_confirmed" in text
    assert f"Q: In what year {SURVEY}" in text


def test_rejected_documents_and_copies_say_why(read: Read) -> None:
    short = flat(show(read.pipeline.open(), read.documents["short"]["document_key"]))
    assert "filter rejected: too_short" in short
    assert "url file:s" in short
    assert SHORT in short
    assert "deduplicate" not in short
    stands = read.good["document_key"]
    other = next(
        row["document_key"]
        for name, row in read.documents.items()
        if name in ("doc-0", "copy") and row["document_key"] != stands
    )
    text = flat(show(read.pipeline.open(), other))
    assert f"rejected: exact_duplicate {stands[:12]} stands for it (exact)" in text
    assert "passages: 0" in text


def test_a_passage_whose_reply_cannot_be_read_shows_the_reply(read: Read) -> None:
    table = read.pipeline.open().read("screened").where("status = 'rejected'")
    text = flat(show(read.pipeline.open(), table.collect()[0]["passage_key"]))
    assert text.startswith("passage ")
    assert "screen: rejected: reply_not_json" in text
    assert NO_JSON in text
    assert "pairs: 0" in text


def test_rows_of_an_earlier_recipe_say_so(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {"generate": "another", "check": "another"}
    made = History.__init__

    def with_other_recipes(self: History, warehouse: Any) -> None:
        made(self, warehouse)
        self.active = self.active | older

    monkeypatch.setattr(History, "__init__", with_other_recipes)
    monkeypatch.setattr(History, "is_accepted", lambda self, key: False)
    text = flat(show(read.pipeline.open(), read.good["pair_key"]))
    assert "not in qa_pairs: it was made or judged under an earlier recipe" in text
    assert "generate: kept (under an earlier recipe)" in text
    # What was sent is rendered from the recipe of then, whatever is in force now.
    assert f"Question: In what year {SURVEY}" in text
    assert "NOT what was sent" not in text


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "is no key"), ("Mount 1", "is no key"), ("f" * 64, "has a key that begins with")],
)
def test_what_names_nothing_is_one_line(read: Read, key: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        show(read.pipeline.open(), key)
    assert "\n" not in str(error.value)


class TwoPairs:
    """A warehouse of two pairs whose keys begin alike."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark

    def read(self, table: str) -> DataFrame:
        key = next(subject.key for subject in Subject if subject.table == table)
        rows = [("ab" + "0" * 62,), ("ab" + "1" * 62,)] if table == Subject.PAIR.table else []
        return self._spark.createDataFrame(rows, f"{key} string")


def test_a_beginning_that_several_keys_have_lists_them(spark: SparkSession) -> None:
    with pytest.raises(UserError, match=r"several keys begin with ab: ab0{10} \(pair\), ab1{10} \(pair\)"):
        resolve(cast(Warehouse, TwoPairs(spark)), "ab")
    assert resolve(cast(Warehouse, TwoPairs(spark)), "ab1") == ("pair", "ab" + "1" * 62)


def test_a_request_has_its_key_again_and_another_recipe_another(read: Read) -> None:
    warehouse = read.pipeline.open()
    passage = History(warehouse).rows("passages", passage_key=read.good["passage_key"])[0]
    recipe = History(warehouse).rows("recipes", recipe=read.good["recipe"])[0]
    body = json.loads(recipe["body"])
    subject = read.good | {"title": passage["title"], "text": passage["text"]}
    other = body | {"sampling": body["sampling"] | {"seed": 1}}
    broken = {name: value for name, value in body.items() if name != "prompt"}
    asked = [Asked(body, subject), Asked(other, subject), Asked(broken, subject)]
    same, changed, unknown = render(warehouse.spark, asked)
    assert same.request_id == read.good["request_id"]
    assert same.request is not None
    assert sha256_text(canonical_json(same.request)) == read.good["request_id"]
    assert changed.request_id not in (None, read.good["request_id"])
    assert unknown.request is None
    assert "of another version" in unknown.problem
    said = {
        name: "\n".join(exchange(read.good, Answered(True, rendered, None, body)))
        for name, rendered in (("same", same), ("changed", changed), ("unknown", unknown))
    }
    assert "NOT what was sent" not in said["same"]
    assert "NOT what was sent" in said["changed"]
    assert "cannot be rendered again" in said["unknown"]
    assert "reply: none in the table completions" in said["same"]
    assert exchange({"request_id": None}, Answered(False, Rendered(None, None))) == []


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert layout.printable("a\x1b[2Jb\r\nc\td\x9b\u202e") == "a\ufffd[2Jb\nc\td\ufffd\ufffd"
    assert layout.clipped("one\ntwo \x07three", 9) == "one two \u2026"
    lines = layout.block("  def f():\n    return " + "x " * 80, 4)
    assert lines[0] == "      def f():"
    assert all(line.startswith("        ") for line in lines[1:])
    assert max(map(len, lines)) <= layout.WIDTH
    assert layout.number(16990.2) == "16990"
    assert layout.field("name", None) == []
