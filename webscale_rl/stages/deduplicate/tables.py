"""The tables of deduplicate."""

from __future__ import annotations

from webscale_rl.core.table import (
    BINARY,
    COUNTS,
    DOUBLE,
    INT,
    LONG,
    STRING,
    STRINGS,
    WRITTEN,
    Table,
    stage_table,
)

DEDUPLICATED = stage_table(
    "deduplicated",
    "deduplicate: whether a document is a copy, and of which one; if a document has several rows, the one of "
    "the newest run is in force",
    "document_key",
    ("content_hash", STRING, "sha256 of the text, as compared"),
    ("ingest_commit", LONG, "age of the document"),
    ("method", STRING, "exact or near, or null for a document that is kept"),
    ("representative_key", STRING, "document that represents this one (itself when kept)"),
    (
        "linked_key",
        STRING,
        "document that this one is a copy of: the representative, or the next one in the chain "
        "that leads to it; null when kept",
    ),
    ("similarity", DOUBLE, "exact Jaccard similarity with linked_key, 1.0 for exact copies"),
    ("cluster_key", STRING, "cluster of copies: the key of its first representative"),
)


BAND_INDEX = Table(
    "band_index",
    "the kept index of near-duplicate removal: MinHash band keys of every document that was compared",
    (
        ("id", LONG, "xxhash64 of document_key"),
        ("bands", BINARY, "four bytes per band"),
        ("kernel", STRING, "version and parameters of the kernel; rows of other kernels are not compared"),
        ("run", LONG, "epoch of the run that wrote the row"),
    ),
    ("kernel",),
)


BRIDGES = Table(
    "bridges",
    "late bridges: documents similar to several clusters that were kept apart before; run "
    "--rebuild-duplicates merges the clusters and removes the rows",
    (
        ("document_key", STRING, "the document"),
        ("clusters", STRINGS, "cluster_key of each; the first is the one that it joined"),
        *WRITTEN,
    ),
)


DEDUPLICATE_FIGURES = Table(
    "deduplicate_figures",
    "what each step of near-duplicate removal counted",
    (
        ("number", INT, "order of the steps"),
        ("step", STRING, "known copies, exact, band keys, candidates, groups, verified, clusters"),
        ("seconds", DOUBLE, "wall time"),
        (
            "counts",
            COUNTS,
            "documents, candidates, shuffled_bytes (uncompressed), largest_partition_bytes, "
            "groups, buckets, largest_bucket, pairs, rounds, rejected, new_clusters, bridges",
        ),
        *WRITTEN,
    ),
)
