"""ingest: every format, what is no document and why, and what a second look at the sources adds."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.helpers import collected, write_lines
from webscale_rl.core.fingerprint import sha256_text
from webscale_rl.errors import InputError
from webscale_rl.runtime.flow import current_documents
from webscale_rl.stages.ingest import sources as reading
from webscale_rl.stages.ingest import stage as ingest
from webscale_rl.stages.ingest.sources import ColumnNames, SourceSettings
from webscale_rl.stages.ingest.stage import DOCUMENTS, IngestSettings
from webscale_rl.text.clean import normalise_text

NO_LIMIT = IngestSettings(max_chars=None)


def source(path: Path | str, kind: str, **more: Any) -> SourceSettings:
    return SourceSettings(name="src", paths=[str(path)], format=kind, **more)


def read(spark: SparkSession, *sources: SourceSettings, limit: int | None = None) -> DataFrame:
    union = None
    for one in sources:
        rows = reading.read_source(spark, one)
        union = rows if union is None else union.unionByName(rows)
    assert union is not None
    return ingest.apply(union, IngestSettings(max_chars=limit))


def by_id(rows: DataFrame) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in collected(rows)}


def reasons(row: dict[str, Any]) -> list[str]:
    assert (row["status"] == "kept") == (row["reasons"] == []), row
    return row["reasons"]


# -- formats ---------------------------------------------------------------------------------------


ROWS = [
    {"id": "1", "url": "http://x/1", "title": "One", "licence": "CC-BY", "text": "First text."},
    {"id": "2", "url": None, "title": None, "licence": " ", "text": 'Second, with "quotes"\nand a line.'},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ingest")


def test_every_table_format_gives_the_same_documents(spark: SparkSession, folder: Path) -> None:
    write_lines(folder / "a.jsonl", ROWS)
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "a.parquet")
    (folder / "a.csv").write_text(
        "id,url,title,licence,text\n"
        '1,http://x/1,One,CC-BY,First text.\n2,,, ,"Second, with ""quotes""\nand a line."\n',
        encoding="utf-8",
    )
    frame = spark.createDataFrame(ROWS, "id string, url string, title string, licence string, text string")
    frame.write.format("delta").save(str(folder / "a.delta"))
    expected = None
    for kind, name in (("json", "a.jsonl"), ("parquet", "a.parquet"), ("csv", "a.csv"), ("delta", "a.delta")):
        found = by_id(read(spark, source(folder / name, kind)))
        assert [found[i]["text"] for i in ("1", "2")] == [row["text"] for row in ROWS]
        assert name in found["1"]["path"]
        for row in found.values():
            del row["path"]
        expected = expected or found
        assert found == expected, kind
    assert expected is not None
    assert (expected["1"]["url"], expected["1"]["licence"]) == ("http://x/1", "CC-BY")
    assert (expected["1"]["title"], expected["2"]["title"]) == ("One", None)
    assert expected["2"]["licence"] == "unknown"
    assert expected["1"]["content_hash"] == sha256_text("First text.")
    assert all(reasons(row) == [] and row["occurrence"] == 0 for row in expected.values())


def test_the_usual_spellings_of_licence_are_read(spark: SparkSession, folder: Path) -> None:
    rows = [
        {"id": "hub", "license": "MIT", "text": "A text."},
        {"id": "both", "licence": "CC0", "license": "MIT", "text": "Another text."},
        {"id": "none", "license": " ", "text": "A third text."},
    ]
    write_lines(folder / "spelled.jsonl", rows)
    columns = ("id", "licence", "license", "text")
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    pq.write_table(table, folder / "spelled.parquet")
    for kind in ("json", "parquet"):
        path = folder / f"spelled.{'jsonl' if kind == 'json' else kind}"
        found = by_id(read(spark, source(path, kind)))
        assert {key: row["licence"] for key, row in found.items()} == {
            "hub": "MIT",
            "both": "CC0",
            "none": "unknown",
        }, kind
        # A name that is given wins, and null means that there is none.
        mine = by_id(read(spark, source(path, kind, columns=ColumnNames(licence="license"))))
        assert mine["both"]["licence"] == "MIT"
        no = by_id(read(spark, source(path, kind, columns=ColumnNames(licence=None))))
        assert no["hub"]["licence"] == "unknown"
    named = SourceSettings.model_validate({"name": "n", "paths": ["p"], "format": "json", "license": "MIT"})
    assert named.licence == "MIT"


@pytest.mark.parametrize("name", ["License", "LICENSE", "Licence", "LICENCE"])
def test_a_licence_may_be_capitalised(spark: SparkSession, folder: Path, name: str) -> None:
    rows = [{"id": "1", name: "mit", "text": "One."}, {"id": "2", name: None, "text": "Two."}]
    write_lines(folder / f"{name}.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    for kind, ending in (("json", "jsonl"), ("parquet", "parquet")):
        found = by_id(read(spark, source(folder / f"{name}.{ending}", kind, licence="as agreed")))
        assert (found["1"]["licence"], found["2"]["licence"]) == ("mit", "as agreed")


def test_licences_that_differ_by_case_only_are_no_error(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("One.", "a", "b")], "text string, license string, License string")
    (row,) = reading.from_frame(frame, source("x", "delta")).collect()
    assert row.licence == "unknown"


def test_text_files_and_lines(spark: SparkSession, folder: Path) -> None:
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.txt").write_bytes(b"One\r\ndocument.")
    (texts / "b.txt").write_bytes(b"\xff\xfe bad bytes \x80")
    (texts / "c.txt").write_bytes(b"")
    (texts / "d.txt").write_bytes(b"null\x00byte")
    whole = collected(read(spark, source(texts, "text", licence="MIT")))
    found = {Path(row["path"]).name: row for row in whole}
    assert found["a.txt"]["text"] == "One\ndocument."
    assert reasons(found["b.txt"]) == ["undecodable"]
    assert reasons(found["c.txt"]) == ["empty_text"]
    assert found["d.txt"]["text"] == "nullbyte"
    assert {row["licence"] for row in whole} == {"MIT"}
    assert len({row["document_key"] for row in whole}) == 4
    (folder / "lines.txt").write_bytes(b"first line\n\n  \nsecond line\r\nb\xffad\nfirst line\n")
    lines = collected(read(spark, source(folder / "lines.txt", "lines")))
    assert sorted((row["text"], row["occurrence"]) for row in lines if row["status"] == "kept") == [
        ("first line", 0),
        ("first line", 1),
        ("second line", 0),
    ]
    assert [reasons(row) for row in lines if row["status"] == "rejected"] == [["undecodable"]]


def test_json_lines_that_are_no_documents(spark: SparkSession, folder: Path) -> None:
    path = folder / "bad.jsonl"
    good = [
        {"id": 7, "text": "Cafe\u0301\r\nzero\u0000byte\ufeff"},
        {"id": "null", "text": None},
        {"id": "missing"},
        {"id": "number", "text": 12},
        {"id": "list", "text": ["a"]},
        {"id": "empty", "text": " \n\t "},
        {"id": "long", "text": "x" * 101},
        {"id": "limit", "text": "y" * 100},
        {"id": "half", "text": "half \ud83d!"},
        {"id": "object", "text": {"a": 1}},
        {"id": "", "url": "http://fallback", "text": "By its address."},
        {"url": "http://only", "text": "Only an address."},
    ]
    lines = [json.dumps(row).encode() for row in good]
    lines += [b"{not json", b"[1, 2]", b'"text"', b"", b'{"id": "bytes", "text": "\xff"}']
    path.write_bytes(b"\n".join(lines) + b"\n")
    rows = collected(read(spark, source(path, "json"), limit=100))
    found = {row["source_id"]: row for row in rows if row["source_id"]}
    assert found["7"]["text"] == "Café\nzerobyte"
    assert found["limit"]["status"] == "kept"
    expected = {
        "null": "null_text",
        "missing": "null_text",
        "number": "non_text",
        "list": "non_text",
        "object": "non_text",
        "empty": "empty_text",
        "long": "too_large",
    }
    assert {name: reasons(found[name]) for name in expected} == {n: [r] for n, r in expected.items()}
    assert found["http://only"]["url"] == "http://only"
    anonymous = [reasons(row) for row in rows if not row["source_id"] and row["status"] == "rejected"]
    # The fourth names a lone surrogate, a character that JSON can write and no table can hold.
    assert sorted(anonymous) == [["malformed_json"]] * 4 + [["undecodable"]]
    assert len(rows) == len(good) + 4, "only the empty line is no row"
    assert len({row["document_key"] for row in rows}) == len(rows)


def test_an_empty_identifier_falls_back_to_the_address(spark: SparkSession, folder: Path) -> None:
    path = write_lines(folder / "fallback.jsonl", [{"id": " ", "url": "http://f", "text": "By its address."}])
    assert set(by_id(read(spark, source(path, "json")))) == {"http://f"}


def test_columns_of_other_names(spark: SparkSession, folder: Path) -> None:
    table = pa.table({"body.text": [b"From bytes.", None, b"\xc3\x28"], "n": [1, 2, 3], "t": ["x", "y", "z"]})
    pq.write_table(table, folder / "other.parquet")
    names = ColumnNames(text="body.text", id="n", title="t", url=None, licence=None)
    found = by_id(read(spark, source(folder / "other.parquet", "parquet", columns=names, licence="CC0")))
    assert (found["1"]["text"], found["1"]["title"], found["1"]["licence"]) == ("From bytes.", "x", "CC0")
    assert reasons(found["2"]) == ["null_text"]
    assert reasons(found["3"]) == ["undecodable"]
    write_lines(folder / "other.jsonl", [{"it's \\ a.key": "From JSON.", "n": 1}])
    json_names = ColumnNames(text="it's \\ a.key", id="n")
    found = by_id(read(spark, source(folder / "other.jsonl", "json", columns=json_names)))
    assert found["1"]["text"] == "From JSON."


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (ColumnNames(text="body"), "no column 'body' (for text); it has id, text, n"),
        (ColumnNames(text="n"), "column 'n' is bigint, the text must be a string"),
        (ColumnNames(title="name"), "no column 'name' (for title)"),
    ],
)
def test_a_wrong_column_is_one_line(
    spark: SparkSession, folder: Path, columns: ColumnNames, message: str
) -> None:
    path = folder / "columns.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": ["a"], "n": [1]}), path)
    with pytest.raises(InputError) as caught:
        reading.read_source(spark, source(path, "parquet", columns=columns))
    assert message in str(caught.value)
    assert "sources[].columns" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["json", "parquet", "csv", "text", "lines", "delta"])
def test_nothing_to_read_is_one_line(spark: SparkSession, folder: Path, kind: str) -> None:
    with pytest.raises(InputError) as caught:
        reading.read_source(spark, source(folder / "nowhere" / "file", kind))
    assert str(caught.value).startswith("source src: cannot read")
    assert "\n" not in str(caught.value)


def test_the_format_is_guessed_from_the_ending() -> None:
    names = {"a.jsonl": "json", "a.JSON.gz": "json", "b.csv": "csv", "c.parquet": "parquet", "d": "text"}
    assert {name: reading.guess_format(name) for name in names} == names


# -- what is news ----------------------------------------------------------------------------------


class Ledger:
    """The table documents, kept in memory: each commit adds what the stage calls news."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self.rows: list[Any] = []
        self.commits = 0

    def _table(self) -> DataFrame:
        return self.spark.createDataFrame(self.rows, DOCUMENTS.schema)

    def take(self, rows: Sequence[tuple[str | None, str | None]], path: str = "p", limit: int = 1000) -> int:
        """Ingest (id, text) rows; returns how many are new."""
        self.commits += 1
        raw = self.spark.createDataFrame(list(rows), "id string, text string")
        settings = SourceSettings(name="src", paths=["p"], format="delta")
        documents = ingest.apply(
            reading.from_frame(raw, settings, F.lit(path)), IngestSettings(max_chars=limit)
        )
        fresh = ingest.news(documents, current_documents(self._table()))
        marked = (
            fresh.withColumn("ingest_commit", F.lit(self.commits))
            .withColumn("recipe", F.lit("r"))
            .withColumn("run", F.lit(self.commits))
        )
        new = marked.select(*DOCUMENTS.column_names).collect()
        self.rows += new
        return len(new)

    def current(self) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
        rows = current_documents(self._table()).collect()
        return sorted(((r["source_id"], r["text"], tuple(r["reasons"])) for r in rows), key=lambda r: str(r))


def test_versions_of_a_document(spark: SparkSession) -> None:
    ledger = Ledger(spark)
    assert ledger.take([("a", "first"), ("b", "other"), (None, "no id"), (None, "no id"), ("n", None)]) == 5
    state = ledger.current()
    assert ledger.take([(None, "no id"), ("n", None), ("a", "first"), (None, "no id"), ("b", "other")]) == 0
    assert ledger.take([("a", "first"), ("b", "other"), (None, "no id")], path="moved/elsewhere") == 0
    assert ledger.current() == state
    # A changed text under a known identifier supersedes; the old row stays in the table.
    assert ledger.take([("a", "second"), ("b", "other")]) == 1
    assert ("a", "second", ()) in ledger.current()
    assert ("a", "first", ()) not in ledger.current()
    # Reverting supersedes back, and stays so.
    assert ledger.take([("a", "first")]) == 1
    assert [row for row in ledger.current() if row[0] == "a"] == [("a", "first", ())]
    assert ledger.take([("a", "first"), ("b", "other")]) == 0
    # What does not look different once normalised is no other text.
    assert ledger.take([("a", "first \r\n")]) == 0


def test_a_row_that_is_repeated_later_under_its_identifier(spark: SparkSession) -> None:
    ledger = Ledger(spark)
    assert ledger.take([("a", "text")]) == 1
    assert ledger.take([("a", "text"), ("a", "text")]) == 1
    assert ledger.current() == [("a", "text", ())] * 2
    # Once more the same input: nothing may be added, now or ever after.
    assert ledger.take([("a", "text"), ("a", "text")]) == 0
    assert ledger.take([("a", "text")]) == 0


def test_two_texts_under_one_identifier_in_one_input(spark: SparkSession) -> None:
    ledger = Ledger(spark)
    rows = [("a", "one"), ("a", "two"), ("b", "alone"), ("a", None)]
    assert ledger.take(rows) == 4
    winner = max(("one", "two"), key=sha256_text)
    loser = min(("one", "two"), key=sha256_text)
    assert ("a", winner, ()) in ledger.current()
    assert ("a", loser, ("conflicting_identifier",)) in ledger.current()
    assert ("a", None, ("null_text",)) in ledger.current()
    assert ledger.take(rows[::-1]) == 0
    # The conflict is gone: the text that is left is in force.
    assert ledger.take([("a", loser)]) == 1
    kept = [row for row in ledger.current() if row[0] == "a" and not row[2]]
    assert kept == [("a", loser, ())]


def test_a_smaller_limit_rejects_what_was_kept(spark: SparkSession) -> None:
    ledger = Ledger(spark)
    assert ledger.take([("a", "x" * 20)], limit=20) == 1
    ledger.take([("a", "x" * 20)], limit=10)
    assert [row[2] for row in ledger.current() if row[0] == "a"] == [("too_large",)]
    assert ledger.take([("a", "x" * 20)], limit=10) == 0


# -- text ------------------------------------------------------------------------------------------


@given(st.text() | st.text(alphabet="\r\n\t \x00\x0b\x85\u2028\ufeffe\u0301a"))
def test_normalising_is_idempotent(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(ord(c) < 32 and c not in "\n\t" for c in once)
    assert once == once.rstrip()
    assert not once.startswith("\n")


@given(st.text(alphabet=st.characters(categories=("L", "N", "P"))))
def test_normalising_keeps_the_words(text: str) -> None:
    assert normalise_text(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    def f():\n        return 1\n", "    def f():\n        return 1"),
        ("\ufeff\r\n \n\tindented\nnot", "\tindented\nnot"),
        ("\n\n\n\n\n  verse", "  verse"),
        ("\u3000多瑙河 ", "\u3000多瑙河"),
        (" \n\u00a0 \t", ""),
    ],
)
def test_the_first_line_keeps_its_indentation(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


def test_a_title_has_no_indentation(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("  One", " \tT "), ("Two", None)], "text string, title string")
    rows = ingest.apply(reading.from_frame(frame, source("x", "delta")), NO_LIMIT).collect()
    assert {row.text: row.title for row in rows} == {"  One": "T", "Two": None}


def test_line_ends_are_unified() -> None:
    assert normalise_text("a\r\nb\rc\u2028d\x85e\x0bf \n\n\n\n\n\ng") == "a\nb\nc\nd\ne\nf\n\n\ng"
