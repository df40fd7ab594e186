"""The segment stage at its public function; the cutting itself is tested in tests/udfs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from chispa import assert_df_equality
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from webscale_rl.stages.segment import stage as segment
from webscale_rl.stages.segment.stage import SegmentSettings

DEFAULTS = yaml.safe_load(Path("conf/stages/segment.yml").read_text(encoding="utf-8"))
SETTINGS = SegmentSettings(**DEFAULTS)
SMALL = SegmentSettings(max_tokens=20, min_tokens=5, chars_per_token=4.0)
PARAGRAPH = "The {} paragraph has two sentences. It ends here, in its way."


def documents(spark: SparkSession, *rows: tuple[str, str | None, str | None]) -> DataFrame:
    return spark.createDataFrame(list(rows), "document_key string, title string, text string")


def test_the_columns(spark: SparkSession) -> None:
    found = segment.apply(documents(spark, ("d", "t", "Some text.")), SETTINGS)
    assert found.schema.simpleString() == (
        "struct<document_key:string,passage_key:string,ordinal:int,title:string,text:string,"
        "start:int,end:int,tokens:int,status:string,reasons:array<string>>"
    )


def test_a_document_within_the_budget_is_one_passage(spark: SparkSession) -> None:
    (row,) = segment.apply(documents(spark, ("d", "The title", "\n Some text. ")), SETTINGS).collect()
    assert (row.ordinal, row.title, row.text, row.start, row.end, row.tokens) == (
        0,
        "The title",
        " Some text.",
        1,
        12,
        3,
    )
    assert (row.status, row.reasons) == ("kept", [])


def test_a_longer_one_is_cut_and_every_passage_carries_the_title(spark: SparkSession) -> None:
    text = "\n\n".join(PARAGRAPH.format(name) for name in ("first", "🙂", "third"))
    given = documents(spark, ("d", "T", text))
    found = segment.apply(given, SMALL)
    rows = found.orderBy("ordinal").collect()
    assert [row.ordinal for row in rows] == [0, 1, 2]
    assert {row.title for row in rows} == {"T"}
    assert "\n\n".join(row.text for row in rows) == text
    assert len({row.passage_key for row in rows}) == 3
    # The offsets mean the same to Spark's substring as to the kernel, also behind an emoji.
    again = found.join(given.select(F.col("text").alias("whole")), how="cross").where(
        "text <> substring(whole, start + 1, end - start)"
    )
    assert again.count() == 0


def test_a_document_without_text_is_one_rejected_row(spark: SparkSession) -> None:
    found = segment.apply(documents(spark, ("a", None, None), ("b", "T", " \n ")), SETTINGS)
    rows = found.orderBy("document_key").collect()
    assert [(row.status, row.reasons) for row in rows] == [("rejected", ["no_text"])] * 2
    assert all(row.passage_key and row.ordinal is None and row.text is None for row in rows)
    assert rows[0].passage_key != rows[1].passage_key


def test_the_key_depends_on_the_document_the_settings_and_the_ordinal(spark: SparkSession) -> None:
    def key(document: str, ordinal: int | None, settings: SegmentSettings) -> str:
        column = segment.passage_key(F.lit(document), F.lit(ordinal).cast("int"), settings)
        row = spark.range(1).select(column.alias("key")).first()
        assert row is not None
        return row.key

    keys = [
        key("d", 0, SETTINGS),
        key("d", 1, SETTINGS),
        key("d", None, SETTINGS),
        key("e", 0, SETTINGS),
        *(
            key("d", 0, SETTINGS.model_copy(update=change))
            for change in ({"max_tokens": 999}, {"min_tokens": 99}, {"chars_per_token": 3.0})
        ),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(one) == 64 for one in keys)
    assert key("d", 0, SETTINGS) == keys[0]


def test_partitions_and_order_change_nothing(spark: SparkSession) -> None:
    given = spark.range(60).select(
        F.col("id").cast("string").alias("document_key"),
        F.lit("t").alias("title"),
        F.expr("repeat('Some words stand here. ', cast(id as int))").alias("text"),
    )
    one = segment.apply(given.coalesce(1), SMALL)
    many = segment.apply(given.repartition(5, F.rand(1)), SMALL)
    assert_df_equality(one, many, ignore_row_order=True)
    assert one.where("status = 'rejected'").count() == 1


def test_a_five_megabyte_line_is_cut(spark: SparkSession) -> None:
    given = documents(spark, ("d", "t", "word " * 1_000_000))
    found = (
        segment.apply(given, SETTINGS)
        .agg(
            F.count("*").alias("passages"),
            F.sum(F.length("text")).alias("characters"),
            F.max("tokens").alias("longest"),
        )
        .first()
    )
    assert found is not None
    assert found.passages == 834
    assert found.characters == 5_000_000 - 834
    assert found.longest <= SETTINGS.max_tokens


@pytest.mark.parametrize(
    "change", [{"max_tokens": 1}, {"min_tokens": 751}, {"chars_per_token": 0}, {"more": 1}]
)
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SegmentSettings(**{**DEFAULTS, **change})


# The digest of what becomes of these texts by the version of the stage. Another digest means that the
# outcome of the stage changed: then its VERSION must change too, or old rows would stand.
GOLDEN = {4: "add48c833d42f9f3250fdeb55f670cafee61c54f44d02d0790430ba579c0917d"}


def test_the_outcome_belongs_to_the_version(spark: SparkSession) -> None:
    texts = [
        "\n\n".join(PARAGRAPH.format(name) for name in ("first", "second", "third")),
        "A heading\n\n" + PARAGRAPH.format("only") * 4 + "\n\nThe tail.",
        "one line without a stop\nand another one\n" * 5 + "word " * 60 + "x" * 200,
        "多瑙河是欧洲第二长河。" * 5,
        " ",
    ]
    given = documents(spark, *((str(at), "T", text) for at, text in enumerate(texts)))
    found = segment.apply(given, SMALL).orderBy("document_key", "ordinal").collect()
    digest = hashlib.sha256(json.dumps([row.asDict() for row in found], sort_keys=True).encode())
    assert GOLDEN[segment.VERSION] == digest.hexdigest()
