"""text-dedup: its MinHash program, 25 bands of 8 rows, with or without its check of false positives.

What counts as kept is what is in its output. In release 0.4.1, without the check, that has hardly a document
of the clusters that it found (it keeps the row whose number is its cluster's, and clusters have numbers of
their own), so the variant without the check is not among the peers by default.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import common


def main() -> None:
    """Run it."""
    given = common.arguments()
    # What an earlier run has left there would be read instead of computed.
    cache = given.work / "datasets"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ.update(HF_HOME=str(cache), HF_DATASETS_CACHE=str(cache), HF_HUB_OFFLINE="1")
    from text_dedup import minhash
    from text_dedup.config.base import load_config_from_toml

    def work(corpus: Path, folder: Path) -> None:
        verify = json.dumps(bool(given.options.get("verify", True)))
        (folder / "config.toml").write_text(
            f"""
[input]
input_type = "local_files"
file_type = "parquet"
read_arguments = {{ path = "parquet", data_files = {json.dumps(common.parts(corpus))}, split = "train" }}

[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = 200
bands = 25
rows = 8
ngram_size = 5
threshold = 0.8
num_proc = 2
check_false_positive = {verify}

[output]
output_dir = {json.dumps(str(folder / "kept"))}
save_clusters = true

[debug]
"""
        )
        minhash.main(load_config_from_toml(folder / "config.toml"))

    def collect(corpus: Path, folder: Path, gave: None) -> Iterator[tuple[str, str, bool]]:
        import datasets

        cluster = pickle.loads((folder / "kept" / "clusters.pickle").read_bytes())  # noqa: S301
        kept = set(datasets.load_from_disk(str(folder / "kept"))["id"])
        for n, key in enumerate(common.identifiers(corpus)):
            # A cluster's number may be that of a document outside it.
            yield key, f"c{cluster[n]}" if n in cluster else key, key in kept

    common.run(given, version("text-dedup"), work, collect)


if __name__ == "__main__":
    main()
