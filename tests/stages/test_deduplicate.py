"""Copies in a frame: `find_duplicates` against the definitions read plainly, and its edges."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from chispa import assert_df_equality
from pydantic import ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.udfs.dedup import plain
from udfs.dedup.verification import verify_batches
from webscale_rl.errors import InputError
from webscale_rl.stages.deduplicate import near as near_duplicates
from webscale_rl.stages.deduplicate.components import connected_components
from webscale_rl.stages.deduplicate.copies import DeduplicateSettings, find_duplicates
from webscale_rl.stages.deduplicate.near import Work, choose_bands, expected_recall

# So many bands that no similar pair is missed: outcomes can be compared with the definition.
SURE = {"bands": 60, "rows": 3}
WORDS = [f"word{n}" for n in range(3000)]


def text(first: int, last: int) -> str:
    """A window of the same endless text: 200 words, moved by 15, have a similarity of 0.86."""
    return " ".join(WORDS[first:last])


A, B, C = text(0, 200), text(15, 215), text(30, 230)  # A ~ B ~ C, and A, C are 0.73


def find(
    spark: SparkSession,
    texts: Mapping[str, str | None] | Sequence[tuple[str, str | None, int]],
    **settings: Any,
) -> dict[str, dict[str, Any]]:
    rows = [(key, value, 0) for key, value in texts.items()] if isinstance(texts, Mapping) else list(texts)
    frame = spark.createDataFrame(rows, "key string, text string, age int")
    work = settings.pop("work", None)
    found = find_duplicates(frame, order="age", settings=DeduplicateSettings(**SURE | settings), work=work)
    verdicts = {row["key"]: row.asDict() for row in found.collect()}
    assert set(verdicts) == {row[0] for row in rows}
    return verdicts


def groups(verdicts: Mapping[str, Mapping[str, Any]], by: str = "cluster_key") -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for key, verdict in verdicts.items():
        found.setdefault(verdict[by], set()).add(key)
    return {frozenset(members) for members in found.values()}


def planted(count: int, seed: int) -> dict[str, str]:
    """Documents with copies that differ in a few words, some of copies of copies."""
    rng = random.Random(seed)
    texts: dict[str, list[str]] = {}
    for n in range(count):
        if texts and rng.random() < 0.5:
            words = list(rng.choice(list(texts.values())))
            for _ in range(rng.choice([0, 1, 1, 2, 4])):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
        else:
            words = rng.sample(WORDS, 60)
        texts[f"k{rng.randrange(10**6):06}-{n}"] = words
    return {key: " ".join(words) for key, words in texts.items()}


def test_clusters_are_those_of_the_definition(spark: SparkSession) -> None:
    texts = planted(150, 1)
    work = Work()
    verdicts = find(spark, texts, threshold=0.7, work=work)
    similar = {(a, b): s for a, b, s in plain.similar_pairs(texts, 5, 0.7)}
    clusters = plain.components(similar, texts)
    assert groups(verdicts) == {frozenset(cluster) for cluster in clusters}
    assert any(len(cluster) > 3 for cluster in clusters)
    for cluster in clusters:
        assert [key for key in cluster if verdicts[key]["status"] == "kept"] == [min(cluster)]
        for key in cluster:
            verdict = verdicts[key]
            assert verdict["representative_key"] == verdict["cluster_key"] == min(cluster)
            link = verdict["linked_key"]
            if key == min(cluster):
                assert (link, verdict["similarity"], verdict["method"]) == (None, None, None)
                assert verdict["reasons"] == []
                continue
            assert verdict["reasons"] == [f"{verdict['method']}_duplicate"]
            # Every removal rests on a pair whose exact similarity is told.
            assert verdict["similarity"] == similar[min(key, link), max(key, link)]
            if verdict["method"] == "exact":
                assert texts[key] == texts[link]
    steps = {step["step"]: step for step in work.figures}
    assert list(steps) == ["signatures", "exact", "candidates", "groups", "verified", "clusters"]
    assert steps["verified"]["pairs"] <= len(similar)
    assert steps["clusters"]["rejected"] == sum(v["method"] == "near" for v in verdicts.values())
    assert steps["candidates"]["largest_partition_bytes"] > 0


def test_neither_order_nor_partitions_nor_the_way_of_the_work_matter(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = planted(120, 2)
    frame = spark.createDataFrame(list(texts.items()), "key string, text string")
    settings = DeduplicateSettings(threshold=0.7)
    one = find_duplicates(frame.coalesce(1), settings=settings)
    many = find_duplicates(frame.repartition(7, F.rand(5)), settings=settings)
    assert_df_equality(one, many, ignore_row_order=True)
    # Components over many tasks, and groups too large for one: the same again.
    monkeypatch.setattr(near_duplicates, "SHORT_WAY_PAIRS", 0)
    monkeypatch.setattr(near_duplicates, "LARGEST_GROUP", 3)
    work = Work()
    assert_df_equality(one, find_duplicates(frame, settings=settings, work=work), ignore_row_order=True)
    assert all(step["rounds"] > 0 for step in work.figures if step["step"] in ("groups", "clusters"))
    monkeypatch.setattr(near_duplicates, "SHORT_WAY_PAIRS", 10**6)
    assert_df_equality(one, find_duplicates(frame, settings=settings), ignore_row_order=True)


def test_the_oldest_stays_and_then_the_smallest_key(spark: SparkSession) -> None:
    verdicts = find(spark, [("b", B, 1), ("a", A, 2), ("c", C, 1), ("copy", B, 0)])
    assert groups(verdicts) == {frozenset(verdicts)}
    assert {v["representative_key"] for v in verdicts.values()} == {"copy"}
    assert verdicts["b"]["method"] == "exact"


def test_a_chain_leads_to_the_one_that_stays_unless_only_directness_counts(spark: SparkSession) -> None:
    rows = [("1a", A, 0), ("2c", C, 0), ("3b", B, 0)]
    verdicts = find(spark, rows)
    assert [verdicts[key]["status"] for key in ("1a", "2c", "3b")] == ["kept", "rejected", "rejected"]
    # It is a copy of the one between, and that of the one that stays.
    assert (verdicts["2c"]["linked_key"], verdicts["2c"]["representative_key"]) == ("3b", "1a")
    assert (verdicts["3b"]["linked_key"], verdicts["3b"]["representative_key"]) == ("1a", "1a")
    direct = find(spark, rows, chain=False)
    assert [direct[key]["status"] for key in ("1a", "2c", "3b")] == ["kept", "kept", "rejected"]
    assert (direct["3b"]["linked_key"], direct["3b"]["cluster_key"]) == ("1a", "1a")
    assert direct["2c"]["cluster_key"] == "2c"


def test_an_exact_copy_of_a_near_copy_has_the_same_representative(spark: SparkSession) -> None:
    verdicts = find(spark, {"a": A, "b": B, "z": B})
    assert verdicts["z"] == {
        "key": "z",
        "status": "rejected",
        "reasons": ["exact_duplicate"],
        "method": "exact",
        "representative_key": "a",
        "linked_key": "b",
        "similarity": 1.0,
        "cluster_key": "a",
    }


def test_short_and_empty_texts_have_only_exact_copies(spark: SparkSession) -> None:
    texts = {
        "n1": None,
        "n2": None,
        "e1": "",
        "e2": "",
        "e3": "  ",
        "s1": "one two",
        "s2": "one, two",
        "s3": "one two",
    }
    texts |= {"p1": "a b c d e", "p2": "A  b c d e!", "emoji": "🎉🎉🎉🎉🎉🎉", "dots": "......"}
    verdicts = find(spark, texts)
    rejected = {key: v["representative_key"] for key, v in verdicts.items() if v["status"] == "rejected"}
    assert rejected == {"e2": "e1", "s3": "s1", "p2": "p1"}
    assert verdicts["p2"]["similarity"] == 1.0
    assert verdicts["p2"]["method"] == "near"


def test_what_nobody_sees_makes_no_difference(spark: SparkSession) -> None:
    accented = " ".join(f"caf\u00e9{n} na\u00efve{n} r\u00e9sum\u00e9{n}" for n in range(20))
    texts = {
        "a composed": accented,
        "b decomposed": unicodedata.normalize("NFD", accented),
        "c hyphenated": accented.replace("na", "n\u00ada"),
        "d zero width": accented.replace("sum", "s\u200bum"),
        "other": accented.replace("caf", "th"),
    }
    found = find(spark, texts)
    assert {key: row["representative_key"] for key, row in found.items()} == {
        key: "other" if key == "other" else "a composed" for key in texts
    }


def test_text_without_spaces_is_compared_by_its_characters(spark: SparkSession) -> None:
    rng = random.Random(4)
    sign = [chr(0x4E00 + rng.randrange(8000)) for _ in range(300)]
    thai = [chr(0x0E01 + rng.randrange(46)) for _ in range(300)]
    texts = {"a": "".join(sign), "b": "".join(thai), "other": "".join(sign[::-1])}
    texts |= {"a2": "".join([*sign[:150], "的", *sign[150:]]), "b2": "".join(thai[:-6])}
    verdicts = find(spark, texts)
    assert groups(verdicts) == {frozenset({"a", "a2"}), frozenset({"b", "b2"}), frozenset({"other"})}
    assert verdicts["a2"]["similarity"] == plain.jaccard(
        plain.shingles(texts["a"], 5), plain.shingles(texts["a2"], 5)
    )


def test_thousands_of_nearly_equal_pages_cost_a_few_pairs_each(spark: SparkSession) -> None:
    page = WORDS[:120]
    texts = {f"p{n:04}": " ".join([*page, f"visitor{n}"]) for n in range(1200)}
    texts |= {f"q{n}": text(500 + 300 * n, 700 + 300 * n) for n in range(5)}
    work = Work()
    verdicts = find(spark, texts, work=work)
    kept = {key for key, verdict in verdicts.items() if verdict["status"] == "kept"}
    assert kept == {"p0000", *(f"q{n}" for n in range(5))}
    steps = {step["step"]: step for step in work.figures}
    # A few have the smallest minimum of a band in their own last shingle.
    assert steps["candidates"]["largest_bucket"] > 1100
    # All pairs would be 719,400. The representatives of a bucket are mostly the same ones in every band: a
    # document is missing in one where its own last shingle has a minimum, about every fourteenth.
    assert steps["groups"]["candidates"] <= 1200 * 3 * near_duplicates.LIMITS.representatives


def test_an_id_of_two_documents_removes_neither(spark: SparkSession) -> None:
    rows = [
        {"grp": 1, "id": 7, "text": A},
        {"grp": 1, "id": 8, "text": A},
        {"grp": 1, "id": 9, "text": A},
        {"grp": 1, "id": 7, "key": "one"},
        {"grp": 1, "id": 7, "key": "two"},
        {"grp": 1, "id": 8, "key": "three"},
        {"grp": 1, "id": 9, "key": "four"},
        *[{"grp": 1, "id": a, "other": b} for a, b in ((7, 8), (7, 9), (8, 9))],
    ]
    names = ("age", "fresh", "cluster", "representative", "representative_age")
    schema = pa.schema(
        [
            *[(name, pa.int64()) for name in ("grp", "id", "other")],
            *[(name, pa.string()) for name in ("text", "key")],
            *[(name, pa.string() if name in ("cluster", "representative") else pa.int64()) for name in names],
        ]
    )
    full = [{name: row.get(name) for name in schema.names} for row in rows]
    batch = pa.RecordBatch.from_pylist(full, schema=schema)
    found = pa.Table.from_batches(verify_batches([batch], shingle_size=5, threshold=0.8)).to_pylist()
    assert [(row["a"], row["b"], row["similarity"]) for row in found if row["b"]] == [(8, 9, 1.0)]
    assert [row["key"] for row in found if row["key"]] == ["three", "four"]


def test_components_of_a_long_chain(spark: SparkSession) -> None:
    rng = random.Random(8)
    nodes = rng.sample(range(-(10**12), 10**12), 150)
    edges = [*pairwise(nodes[:100]), *[(nodes[100], n) for n in nodes[101:140]]]
    rng.shuffle(edges)
    frame = spark.createDataFrame([*edges, (nodes[0], nodes[0])], "a bigint, b bigint")
    found = connected_components(frame, lambda rows, _: rows.localCheckpoint())
    labels = {row["id"]: row["component"] for row in found.labels.collect()}
    assert labels == dict.fromkeys(nodes[:100], min(nodes[:100])) | dict.fromkeys(
        nodes[100:140], min(nodes[100:140])
    )
    assert found.rounds <= 10


def test_bands_are_chosen_for_a_threshold() -> None:
    assert choose_bands(0.8) == (25, 8)
    assert expected_recall(0.8, 25, 8) == pytest.approx(0.98986, abs=1e-5)
    for threshold in (0.3, 0.5, 0.7, 0.9, 0.95, 1.0):
        bands, rows = choose_bands(threshold)
        assert bands * rows <= near_duplicates.MAX_PERMUTATIONS
        assert expected_recall(threshold, bands, rows) >= near_duplicates.MIN_RECALL
    # Nothing finds such pairs well: what finds most.
    assert choose_bands(0.01) == (200, 1)
    assert "0.9899 at 0.8," in near_duplicates.describe_recall(25, 8)


def test_any_frame_will_do(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(3, A), (20, A), (100, C)], "number int, body string")
    found = find_duplicates(frame, key="number", text="body")
    assert found.schema["number"].dataType == frame.schema["number"].dataType
    # Keys are compared as text, so 20 comes before 3.
    assert {row["number"]: row["status"] for row in found.collect()} == {
        3: "rejected",
        20: "kept",
        100: "kept",
    }
    with pytest.raises(InputError, match="no column 'text'; there are number, body"):
        find_duplicates(frame, key="number")
    none: DataFrame = find_duplicates(frame.limit(0), key="number", text="body")
    assert none.count() == 0


def test_the_defaults_are_those_of_the_configuration() -> None:
    section = yaml.safe_load(Path("conf/stages/deduplicate.yml").read_text(encoding="utf-8"))
    assert DeduplicateSettings(**section) == DeduplicateSettings()
    assert set(section) == set(DeduplicateSettings.model_fields)
    with pytest.raises(ValidationError, match="give both, or neither"):
        DeduplicateSettings(bands=20)
    with pytest.raises(ValidationError, match="threshold"):
        DeduplicateSettings(threshold=1.2)
