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
    "deduplicate: whether a document stands for itself, or which one stands for it; of several rows of a "
    "document the one of the newest run is in force",
    "document_key",
    ("content_hash", STRING, "sha256 of the text, as compared"),
    ("ingest_commit", LONG, "age of the document"),
    ("method", STRING, "exact or near, or null for a document that is kept"),
    ("representative_key", STRING, "document that stands for this one (itself when kept)"),
    (
        "linked_key",
        STRING,
        "document that this one was found to be a copy of: the representative, or the "
        "next one of the chain that leads to it; null when kept",
    ),
    ("similarity", DOUBLE, "exact Jaccard similarity with linked_key, 1.0 for exact copies"),
    ("cluster_key", STRING, "cluster of copies: the key of its first representative"),
)


BAND_INDEX = Table(
    "band_index",
    "the kept index of near-duplicate removal: MinHash band keys of every document that was compared",
    (
        ("id", LONG, "xxhash64 of document_key"),
        ("bands", BINARY, "four bytes a band"),
        ("kernel", STRING, "version and parameters of the kernel; rows of another one are not compared"),
        ("run", LONG, "epoch of the run that wrote the row"),
    ),
    ("kernel",),
)


BRIDGES = Table(
    "bridges",
    "late bridges: a document similar to several clusters that were kept apart before it came; applied and "
    "removed by run --rebuild-duplicates",
    (
        ("document_key", STRING, "the document"),
        ("clusters", STRINGS, "cluster_key of each, the one that it joined first"),
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
