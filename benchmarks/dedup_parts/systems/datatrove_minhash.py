"""datatrove: its four MinHash steps with local executors, 25 buckets of 8 hashes, no verification.

``options["tokenizer"]`` is "spacy", what the library takes for English by default, or "split", a tokenizer of
one line for texts that its own normalisation has cleaned already.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import common
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.hashing import HashConfig
from datatrove.utils.text import TextNormConfig
from datatrove.utils.typeshelper import Languages
from datatrove.utils.word_tokenizers import WordTokenizer

BUCKETS, HASHES, WORKERS = 25, 8, 2


class SplitTokenizer(WordTokenizer):
    """Words between spaces."""

    def word_tokenize(self, text: str) -> list[str]:
        """The words."""
        return text.split()

    def sent_tokenize(self, text: str) -> list[str]:
        """Not needed."""
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Not needed."""
        return [(0, len(text))]


def main() -> None:
    """Run it."""
    given = common.arguments()
    config = MinhashConfig(
        n_grams=5,
        num_buckets=BUCKETS,
        hashes_per_bucket=HASHES,
        # Words as they are: numbers and accents told apart, as by the other systems.
        norm_config=TextNormConfig(norm_numbers=False, norm_unicode_diacritics=False),
        hash_config=HashConfig(precision=64),
    )
    language = Languages.english if given.options.get("tokenizer") == "spacy" else SplitTokenizer()

    def work(corpus: Path, folder: Path) -> None:
        def step(number: int, pipeline: list, tasks: int) -> None:
            LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=WORKERS, logging_dir=str(folder / f"logs{number}")
            ).run()

        def reader() -> ParquetReader:
            return ParquetReader(str(corpus / "documents"), text_key="text", id_key="id")

        at = {name: str(folder / name) for name in ("signatures", "buckets", "removed", "kept")}
        step(1, [reader(), MinhashDedupSignature(at["signatures"], config, language=language)], WORKERS)
        step(2, [MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)], BUCKETS)
        step(3, [MinhashDedupCluster(at["buckets"], at["removed"], config=config, save_cluster_id=True)], 1)
        step(4, [reader(), MinhashDedupFilter(at["removed"]), ParquetWriter(at["kept"])], WORKERS)

    def collect(corpus: Path, folder: Path, gave: None) -> Iterator[tuple[str, str, bool]]:
        files = common.parts(corpus)
        for rank in range(WORKERS):
            # A task reads every WORKERS-th file; its documents are numbered in that order.
            own = [_ids(path) for path in files[rank::WORKERS]]
            ids = [key for some in own for key in some]
            removed = set(_numbers(folder / "removed" / f"{rank:06d}.remove"))
            pairs = _numbers(folder / "removed" / f"{rank:06d}.clusters")
            cluster = dict(zip(pairs[::2], pairs[1::2], strict=True))
            for n, key in enumerate(ids):
                yield key, f"c{cluster[n]}" if n in cluster else key, n not in removed

    common.run(given, version("datatrove"), work, collect)


def _ids(path: str) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=["id"]).column(0).to_pylist()


def _numbers(path: Path) -> tuple[int, ...]:
    content = path.read_bytes() if path.exists() else b""
    return struct.unpack(f"<{len(content) // 4}I", content)


if __name__ == "__main__":
    main()
