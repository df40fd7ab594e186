"""The decontaminate stage at its public functions."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from chispa import assert_df_equality
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from webscale_rl.errors import InputError
from webscale_rl.stages.decontaminate import stage as decontaminate

DEFAULTS = yaml.safe_load(Path("conf/stages/decontaminate.yml").read_text(encoding="utf-8"))
SETTINGS = decontaminate.DecontaminateSettings(**DEFAULTS)

ITEMS = [
    (
        "sums",
        "7",
        "A train leaves at nine and travels at 80 km/h for three hours. How far does it go?",
        "240 km",
    ),
    ("sums", "8", "What is 6 times 7?", "42"),
    ("facts", "a", "Which river flows through Vienna?", "The Danube"),
    ("facts", "b", "多瑙河流经多少个国家？", "十个"),
    ("facts", "c", None, None),
]


@pytest.fixture(scope="module")
def items(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(ITEMS, "benchmark string, item string, question string, answer string")


def judged(spark: SparkSession, items: DataFrame | None, *pairs: tuple[str | None, str | None]) -> list[Row]:
    rows = [(f"{at:02}", question, answer) for at, (question, answer) in enumerate(pairs)]
    frame = spark.createDataFrame(rows, "pair_key string, question string, answer string")
    return decontaminate.apply(frame, items, SETTINGS).orderBy("pair_key").collect()


def test_a_question_within_another_is_rejected(spark: SparkSession, items: DataFrame) -> None:
    rows = judged(
        spark,
        items,
        (
            "Which river flows through Vienna? A) The Inn B) The Danube C) The Mur D) The Elbe",
            "B) The Danube",
        ),
        ("Read the passage about Austria and then answer this: which river flows through Vienna?", "Danube"),
        ("A class looks at a map: which river flows through Vienna, and where does it rise?", "Danube"),
        ("If a box holds 6 rows of 7 eggs, what is 6 times 7 and who laid them?", "42"),
        # Neither words in another order nor a longer word is the question.
        ("Which river that flows from the Alps through Vienna and Budapest is the longest one?", "Danube"),
        ("Which river flows through Viennas old sister city in the far west?", "Inn"),
    )
    assert [(row.status, row.reasons) for row in rows[:4]] == [("rejected", ["benchmark_contained"])] * 4
    assert {(row.benchmark, row.item, row.overlap) for row in rows[:3]} == {("facts", "a", 1.0)}
    assert [row.status for row in rows[4:]] == ["kept", "kept"]


def test_a_short_question_within_another_says_nothing(spark: SparkSession) -> None:
    item = ("b", "1", "What is it?", "A hat")
    items = spark.createDataFrame([item], "benchmark string, item string, question string, answer string")
    (row,) = judged(spark, items, ("On the table lies something of felt: what is it?", "A hat"))
    assert "benchmark_contained" not in row.reasons


@pytest.mark.parametrize(
    ("inner", "whole"),
    [
        (
            "Which river flows through Vienna?",
            "Which river flows through Vienna? A) Rhine B) Danube C) Sava D) Oder",
        ),
        (
            "Which is the capital city of Mongolia?",
            "Which is the capital city of Mongolia, and on what river does it lie today?",
        ),
        (
            "多瑙河流经多少个国家？",
            "请你用一句话回答下面这个简单的问题：多瑙河流经多少个国家，为什么？谢谢你的回答。",
        ),
    ],
)
def test_either_question_may_be_the_one_that_stands_in_the_other(
    spark: SparkSession, inner: str, whole: str
) -> None:
    for asked, known in ((whole, inner), (inner, whole)):
        items = spark.createDataFrame(
            [
                ("b", "1", known, "x"),
                ("b", "2", "Which gas makes up most of the air of the Earth?", "nitrogen"),
            ],
            "benchmark string, item string, question string, answer string",
        )
        (row,) = judged(spark, items, (asked, "none of these two or three"))
        assert "benchmark_contained" in row.reasons
        assert (row.status, row.item, row.overlap) == ("rejected", "1", 1.0)


@pytest.mark.parametrize(
    ("inner", "whole"),
    [
        (
            "Who was the first president?",
            "Who was the first president of Ghana to visit the lakes in the north?",
        ),
        (
            "What is the capital of France?",
            "What is the capital of France known for in winter by the people there?",
        ),
        (
            "How long does it take to get there?",
            "How long does it take to get there, if it is not far from where they were?",
        ),
        (
            "Which of these is a river?",
            "Which of these is a river? A) the Danube B) the Matterhorn C) Vienna D) Lake Como",
        ),
        ("什么是人工智能？", "他说什么是人工智能，为什么我们今天需要它，它又有什么用处呢？"),
    ],
)
def test_a_common_question_stands_in_many(spark: SparkSession, inner: str, whole: str) -> None:
    for asked, known in ((whole, inner), (inner, whole)):
        items = spark.createDataFrame(
            [("b", "1", known, "x")], "benchmark string, item string, question string, answer string"
        )
        (row,) = judged(spark, items, (asked, "none of these two or three"))
        assert "benchmark_contained" not in row.reasons


def test_an_exact_question_is_rejected_whatever_its_case_and_punctuation(
    spark: SparkSession, items: DataFrame
) -> None:
    row, other = judged(
        spark,
        items,
        ("  which RIVER flows - through 'Vienna'", "the Rhine"),
        ("Which river is long?", "Nile"),
    )
    assert row.status == "rejected"
    assert "benchmark_exact" in row.reasons
    assert (row.benchmark, row.item, row.overlap) == ("facts", "a", 1.0)
    assert (other.status, other.reasons) == ("kept", [])


def test_more_than_half_of_the_eight_grams_reject_and_half_does_not(spark: SparkSession) -> None:
    words = [f"w{n}" for n in range(20)]
    items = spark.createDataFrame(
        [("b", "1", " ".join(words), None)], "benchmark string, item string, question string, answer string"
    )
    # 10 n-grams of 17 words; the first 12 words give 5 of them, the first 13 give 6.
    half = words[:12] + [f"x{n}" for n in range(5)]
    more = words[:13] + [f"x{n}" for n in range(4)]
    kept, rejected = judged(spark, items, (" ".join(half), "no"), (" ".join(more), "no"))
    assert (kept.status, kept.reasons, kept.item, kept.overlap) == ("kept", [], "1", 0.5)
    assert (rejected.status, rejected.reasons, rejected.overlap) == ("rejected", ["benchmark_ngrams"], 0.6)


def test_a_short_question_is_compared_with_its_answer(spark: SparkSession, items: DataFrame) -> None:
    # Five words: n-grams of five from question and answer together. "flows through vienna the danube"
    # and two others stand in the item, which has the same question.
    same, answer_only, other = judged(
        spark,
        items,
        ("River flows through Vienna?", "The Danube"),
        ("What flows through Vienna?", "the Danube"),
        ("What is 6 times 8?", "48"),
    )
    # [river flows through vienna] [flows through vienna the] [through vienna the danube]
    assert (same.reasons, same.overlap) == (["benchmark_ngrams"], 1.0)
    # [what flows through vienna] is not in the item, the other two are.
    assert answer_only.reasons == ["benchmark_ngrams"]
    assert answer_only.overlap == pytest.approx(2 / 3)
    assert (other.status, other.overlap) == ("kept", 0.0)


def test_the_item_with_the_highest_overlap_is_named(spark: SparkSession) -> None:
    text = " ".join(f"w{n}" for n in range(16))
    items = spark.createDataFrame(
        [
            ("b", "part", f"or {' '.join(f'w{n}' for n in range(14))}", ""),
            ("b", "whole", f"so {text}", ""),
            ("a", "none", "something else", ""),
        ],
        "benchmark string, item string, question string, answer string",
    )
    (row,) = judged(spark, items, (text, ""))
    assert (row.benchmark, row.item, row.overlap) == ("b", "whole", 1.0)


def test_items_of_one_name_are_not_taken_together(spark: SparkSession) -> None:
    words = [f"w{n}" for n in range(18)]
    items = spark.createDataFrame(
        [("b", "1", " ".join(["x", *words[:10]]), ""), ("b", "1", " ".join(["x", *words[8:]]), "")],
        "benchmark string, item string, question string, answer string",
    )
    (row,) = judged(spark, items, (" ".join(words), ""))
    assert row.status == "kept"
    assert row.overlap == pytest.approx(3 / 11)


def test_scripts_without_spaces_are_compared_by_character(spark: SparkSession, items: DataFrame) -> None:
    near, far = judged(
        spark, items, ("请问多瑙河流经多少个国家", "十"), ("长城有多长，建于什么时候？", "两万公里")
    )
    assert (near.reasons, near.item) == (["benchmark_contained", "benchmark_ngrams"], "b")
    assert (far.status, far.item) == ("kept", None)


def test_a_question_without_words_is_like_no_item(spark: SparkSession, items: DataFrame) -> None:
    empty = [(None, None), ("", ""), ("  \n", "Vienna"), ("?!", "The Danube"), ("🙂🙂", None)]
    for row in judged(spark, items, *empty):
        assert (row.status, row.benchmark, row.item, row.overlap) == ("kept", None, None, 0.0)


def test_without_benchmarks_every_pair_is_kept(spark: SparkSession) -> None:
    for nothing in (None, decontaminate.load_benchmarks(spark, [])):
        (row,) = judged(spark, nothing, ("What is 6 times 7?", "42"))
        assert row.asDict() == {
            "pair_key": "00",
            "status": "kept",
            "reasons": [],
            "benchmark": None,
            "item": None,
            "overlap": 0.0,
        }


def test_a_long_line_is_judged(spark: SparkSession, items: DataFrame) -> None:
    (row,) = judged(spark, items, ("word7 " * 100_000 + "x" * 2_000_000, "y" * 2_000_000))
    assert row.status == "kept"


def test_partitions_and_order_change_nothing(spark: SparkSession, items: DataFrame) -> None:
    pairs = spark.createDataFrame(
        [(str(n), ITEMS[n % 4][2], ITEMS[(n + n // 4) % 4][3]) for n in range(40)],
        "pair_key string, question string, answer string",
    )
    one = decontaminate.apply(pairs.coalesce(1), items.coalesce(1), SETTINGS)
    many = decontaminate.apply(
        pairs.repartition(7, F.rand(3)), items.repartition(5, F.rand(4)).unionByName(items), SETTINGS
    )
    assert_df_equality(one, many, ignore_row_order=True)
    assert one.count() == 40


def test_no_cross_join_is_planned(
    spark: SparkSession, items: DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = spark.createDataFrame([("k", "q", "a")], "pair_key string, question string, answer string")
    decontaminate.apply(pairs, items, SETTINGS).explain()
    plan = capsys.readouterr().out
    assert "CartesianProduct" not in plan
    assert "BroadcastNestedLoopJoin" not in plan


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return str(path)


def test_benchmarks_are_read_from_json_lines_and_parquet(spark: SparkSession, tmp_path: Path) -> None:
    row = {"benchmark": "b", "item": 1, "question": "What?", "answer": 4.50, "extra": [1]}
    lines = write(tmp_path / "one.jsonl", [row])
    packed = write(tmp_path / "two.json.gz", [{**row, "item": "2", "answer": None}])
    parquet = str(tmp_path / "three.parquet")
    spark.createDataFrame(
        [("b", 3, "Why?", "So")], "benchmark string, item int, question string, answer string"
    ).write.parquet(parquet)
    rows = decontaminate.load_benchmarks(spark, [lines, packed, parquet]).orderBy("item").collect()
    assert [tuple(row) for row in rows] == [
        ("b", "1", "What?", "4.5"),
        ("b", "2", "What?", None),
        ("b", "3", "Why?", "So"),
    ]


def test_a_file_that_is_no_benchmark_is_one_line(spark: SparkSession, tmp_path: Path) -> None:
    whole = {"benchmark": "b", "item": "1", "question": "q", "answer": "a"}
    (tmp_path / "broken.jsonl").write_text(json.dumps(whole) + "\n{no\n", encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "bad.parquet").write_text("no parquet", encoding="utf-8")
    cases = {
        str(tmp_path / "missing.jsonl"): "cannot be read",
        str(tmp_path / "missing.parquet"): "cannot be read",
        str(tmp_path / "bad.parquet"): "cannot be read",
        str(tmp_path / "items.txt"): "neither JSON lines",
        str(tmp_path / "broken.jsonl"): "not JSON objects",
        str(tmp_path / "empty.jsonl"): "has no column",
        write(tmp_path / "short.jsonl", [{"benchmark": "b", "item": "1"}]): "has no column question, answer",
        write(tmp_path / "nested.jsonl", [{**whole, "answer": ["a"]}]): "answer must be text",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            decontaminate.load_benchmarks(spark, [path])
        assert path in str(caught.value)
        assert "\n" not in str(caught.value)


# The digest of the verdicts below by the version of the stage. Another digest means that the outcome of
# the stage changed: then its VERSION must change too, or old verdicts would stand.
GOLDEN = {3: "14d3b8d85207a6aec7f329f10b04695c4578345cf95582fd89b93df64906ea5c"}


def test_the_outcome_belongs_to_the_version(spark: SparkSession, items: DataFrame) -> None:
    found = judged(
        spark,
        items,
        ("Which river flows through Vienna?", "The Danube"),
        ("Which river flows through Budapest?", "The Danube"),
        ("A train leaves at nine and travels at 80 km/h for two hours. How far?", "160 km"),
        ("多瑙河流经多少个国家", "十个"),
        ("What is 6 times 7", "42"),
        (None, None),
    )
    digest = hashlib.sha256(json.dumps([row.asDict() for row in found], sort_keys=True).encode())
    assert GOLDEN[decontaminate.VERSION] == digest.hexdigest()
