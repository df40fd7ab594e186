"""The stage deduplicate over a warehouse: batch upon batch, withdrawals, late bridges, rebuilds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.helpers import collected
from tests.stages.test_deduplicate import A, B, C, groups, text
from udfs.dedup import hashes
from webscale_rl import Pipeline
from webscale_rl.errors import ConfigError, WarehouseError
from webscale_rl.stages.deduplicate import incremental as deduplicating
from webscale_rl.stages.deduplicate.copies import DeduplicateSettings, find_duplicates

STAGES = ("ingest", "filter", "deduplicate")
# Nothing is filtered; so many bands that no similar pair is missed.
SETTINGS: dict[str, Any] = {
    "filter": {"languages": []},
    "deduplicate": {"bands": 60, "rows": 3},
}


class Corpus:
    """A warehouse that documents are brought to in batches, each named by its identifier."""

    first: Mapping[str, Any]

    def __init__(self, spark: SparkSession, folder: Path, **settings: Any) -> None:
        self.spark = spark
        values = {**SETTINGS, "deduplicate": SETTINGS["deduplicate"] | settings}
        self.pipeline = Pipeline(config=values, warehouse=str(folder), spark=spark)

    def run(self, texts: Mapping[str, str] | None = None, **options: Any) -> None:
        rows = list((texts or {}).items())
        inputs = self.spark.createDataFrame(rows, "id string, text string")
        self.pipeline.run(stages=STAGES, inputs=inputs, **options)

    def rows(self, table: str) -> list[dict[str, Any]]:
        return collected(self.pipeline.open().read(table))

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """The newest verdict of each identifier, keys replaced by identifiers."""
        names = {row["document_key"]: row["source_id"] for row in self.rows("documents")}
        found = {}
        for row in sorted(self.rows("deduplicated"), key=lambda row: row["run"]):
            for column in ("document_key", "representative_key", "linked_key", "cluster_key"):
                row[column] = names.get(row[column], row[column])
            found[row["document_key"]] = row
        return found

    def keys(self) -> dict[str, str]:
        """The first document key of each identifier."""
        rows = sorted(self.rows("documents"), key=lambda row: -row["run"])
        return {row["source_id"]: row["document_key"] for row in rows}

    def bridges(self) -> list[tuple[str, list[str]]]:
        names = {row["document_key"]: row["source_id"] for row in self.rows("documents")}
        return [
            (names[row["document_key"]], [names[cluster] for cluster in row["clusters"]])
            for row in self.rows("bridges")
        ]

    def figures(self, step: str) -> dict[str, int]:
        rows = self.rows("deduplicate_figures")
        last = max(row["run"] for row in rows)
        return next(row["counts"] for row in rows if row["run"] == last and row["step"] == step)


FIRST = {"a": A, "c": C, "d": text(600, 800), "d copy": text(600, 800), "e": text(900, 1100)}
SECOND = {"b": B, "d near": text(605, 805), "e copy": text(900, 1100), "n": text(1500, 1700)}
# Similar to b, and to neither of the two that b is similar to.
B_NEAR = B.replace("word60 ", "other ").replace("word120 ", "another ")
THIRD = {"b near": B_NEAR, "n near": text(1501, 1701)}


@pytest.fixture(scope="module")
def corpus(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three batches, one after the other; the tests below go on with it, in their order."""
    found = Corpus(spark, tmp_path_factory.mktemp("batches"))
    found.run(FIRST)
    found.first = found.verdicts()
    found.run(SECOND)
    found.run(THIRD)
    return found


@pytest.fixture(scope="module")
def at_once(spark: SparkSession) -> set[frozenset[str]]:
    """The clusters of the same documents, all at once."""
    frame = spark.createDataFrame(list((FIRST | SECOND | THIRD).items()), "key string, text string")
    settings = DeduplicateSettings(**SETTINGS["deduplicate"])
    return groups({row["key"]: row for row in collected(find_duplicates(frame, settings=settings))})


def test_a_batch_is_compared_with_what_was_there(corpus: Corpus) -> None:
    found = corpus.verdicts()
    assert len(found) == len(FIRST | SECOND | THIRD)
    assert {key: found[key] for key in FIRST} == corpus.first
    stays = found["d"]["representative_key"]
    assert stays in ("d", "d copy")
    assert (found["d near"]["method"], found["d near"]["representative_key"]) == ("near", stays)
    assert (found["e copy"]["method"], found["e copy"]["linked_key"]) == ("exact", "e")
    assert found["n"]["status"] == "kept"
    assert found["n near"]["representative_key"] == "n"
    # Removed documents stay in the index.
    assert found["b near"]["linked_key"] == "b"
    assert len(corpus.rows("band_index")) == 9


def test_a_late_bridge_is_recorded_and_the_rest_is_as_all_at_once(
    corpus: Corpus, at_once: set[frozenset[str]]
) -> None:
    ((document, clusters),) = corpus.bridges()
    assert document == "b"
    assert sorted(clusters) == ["a", "c"]
    found = corpus.verdicts()
    assert found["a"]["status"] == found["c"]["status"] == "kept"
    assert found["b"]["cluster_key"] == found["b near"]["cluster_key"] == clusters[0]
    apart = groups(found)
    bridged = {group for group in apart if group & {"a", "c"}}
    assert at_once == (apart - bridged) | {frozenset().union(*bridged)}


def test_a_rebuild_is_as_all_at_once(corpus: Corpus, at_once: set[frozenset[str]]) -> None:
    with pytest.raises(ConfigError, match="leave out --limit or --rebuild-duplicates"):
        corpus.run(rebuild_duplicates=True, limit=3)
    corpus.run(rebuild_duplicates=True)
    assert corpus.bridges() == []
    found = corpus.verdicts()
    assert groups(found) == at_once
    # Of the earliest commit, the one with the smallest key.
    oldest = min("a", "c", key=corpus.keys().__getitem__)
    assert {found[name]["representative_key"] for name in ("a", "b", "c", "b near")} == {oldest}
    assert corpus.figures("band keys") == {"documents": 0}


def test_the_next_of_a_cluster_follows_one_that_is_withdrawn(corpus: Corpus) -> None:
    before = corpus.verdicts()
    oldest = before["a"]["representative_key"]
    # Another text under the same identifier.
    corpus.run({oldest: text(2000, 2200)})
    found = corpus.verdicts()
    (heir,) = {"a", "c"} - {oldest}
    assert (found[heir]["status"], found[heir]["reasons"], found[heir]["similarity"]) == ("kept", [], None)
    for name in ("b", "b near"):
        assert (found[name]["status"], found[name]["representative_key"]) == ("rejected", heir)
        # What it was found to be a copy of is still true.
        for column in ("similarity", "method"):
            assert found[name][column] == before[name][column]
    assert len({found[name]["cluster_key"] for name in ("b", "b near", heir)}) == 1
    assert found[oldest]["status"] == "kept"
    rows = len(corpus.rows("deduplicated"))
    corpus.run()
    assert len(corpus.rows("deduplicated")) == rows


def test_an_index_of_another_kernel_is_refused_and_can_be_made_anew(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "KERNEL_VERSION", 99)
    with pytest.raises(WarehouseError, match=r"kernel=99 .*--rebuild-duplicates"):
        corpus.run({"e near": text(903, 1103)})
    assert "e near" not in corpus.verdicts()
    corpus.run(rebuild_duplicates=True)
    assert corpus.verdicts()["e near"]["representative_key"] == corpus.verdicts()["e"]["representative_key"]
    assert len({row["kernel"] for row in corpus.rows("band_index")}) == 2


def test_only_direct_similarity_and_an_index_that_is_shuffled(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deduplicating, "PROBE_DOCUMENTS", 0)
    corpus = Corpus(spark, tmp_path, chain=False)
    corpus.run(FIRST)
    corpus.run({"b": B, "d near": text(605, 805)})
    found = corpus.verdicts()
    assert found["d near"]["representative_key"] == found["d"]["representative_key"]
    representative = found["b"]["representative_key"]
    (other,) = {"a", "c"} - {representative}
    # Nothing is a bridge where similarity goes through nobody.
    assert corpus.bridges() == []
    # Who has lost its representative is judged again.
    corpus.run({representative: text(2000, 2200)})
    found = corpus.verdicts()
    assert (found["b"]["representative_key"], found["b"]["linked_key"]) == (other, other)
    assert found[other]["status"] == "kept"
