"""Tables on the terminal."""

from __future__ import annotations

from typing import Any


def table(headings: list[str], rows: list[list[str]]) -> None:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[n]) for row in [headings, *rows]) for n in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    for line in lines:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    print(flush=True)


def number(value: float | None, form: str = ".1f") -> str:
    """A number, or a dash."""
    return "-" if value is None else format(value, form)


def corpus(facts: dict[str, Any]) -> None:
    """What a corpus is like."""
    print(
        f"{facts['documents']:,} documents, {facts['megabytes']} MB, fingerprint {facts['fingerprint']}: "
        f"{facts['true_pairs']:,} true pairs, {facts['documents_to_remove']:,} documents to remove, "
        f"{facts['true_clusters_of_two_and_more']:,} true clusters, the largest of "
        f"{facts['largest_true_cluster']:,}"
    )
    if facts["planted"]:
        kinds = [[kind, f"{n['planted']:,}", f"{n['near']:,}"] for kind, n in facts["planted"].items()]
        print()
        table(["edit", "planted", "0.8 and more"], sorted(kinds))
    if "nearest_of_2000" in facts:
        histogram(facts["nearest_of_2000"], "similarity to the nearest other document")


def histogram(counts: dict[str, int], what: str) -> None:
    """Counts by tenths."""
    table([what, *counts], [["documents of the sample", *(f"{count:,}" for count in counts.values())]])


def comparison(rows: list[dict[str, Any]], documents: int) -> None:
    """The systems side by side."""
    ours = rows[0]
    shown = []
    for row in rows:
        if row["error"] and not row["runs"]:
            shown.append([row["system"], "failed", *["-"] * 13])
            continue
        ratios = [
            row[kind] / ours[kind] if row is not ours and ours.get(kind) and row[kind] else None
            for kind in ("seconds", "with_start")
        ]
        shown.append(
            [
                row["system"],
                row["version"],
                "yes" if row["verifies"] else "no",
                number(row["seconds"]),
                number(ratios[0], ".2f"),
                number(row["with_start"]),
                number(ratios[1], ".2f"),
                number(row["documents_per_second"], ",.0f"),
                number(row["memory_total"] / 1e6, ",.0f"),
                number(row["memory_python"] / 1e6, ",.0f"),
                number(row["memory_java"] / 1e6, ",.0f"),
                number(row["shuffle_per_document"], ",.0f"),
                number(row["pair_recall"], ".4f"),
                f"{row['document_recall']:.4f} / {row['document_precision']:.4f}",
                f"{row['lost_clusters']:,}",
            ]
        )
    table(
        [
            *("system", "version", "verifies", "work s", "times ours", "from start s", "times ours"),
            "documents/s",
            *("peak MB", "Python MB", "Java MB", "shuffled B/document"),
            *("pair recall", "document recall / precision", "clusters lost"),
        ],
        shown,
    )
    for row in rows:
        if row.get("shuffle_of_steps"):
            steps = ", ".join(f"{step} {size:,.0f}" for step, size in row["shuffle_of_steps"].items())
            print(f"{row['system']}: bytes shuffled a document, compressed: {steps}\n")
        if row["error"]:
            print(f"{row['system']} failed: {row['error']}\n")


def stages(name: str, found: list[dict[str, Any]]) -> None:
    """Spark's stages that shuffled anything; that with the most records is the one of the bands."""
    if not found:
        return
    print(f"{name}: stages that wrote or read a shuffle")
    most = max(stage["records"] for stage in found)
    rows = [
        [
            str(stage["stage"]) + (" (most records)" if most and stage["records"] == most else ""),
            (stage["step"] or stage["name"])[:50],
            str(stage["tasks"]),
            f"{stage['milliseconds'] / 1000:.1f}",
            f"{stage['slowest'] / 1000:.1f}",
            f"{stage['records']:,}",
            f"{stage['bytes']:,}",
            f"{stage['largest_read']:,}",
            f"{stage['largest_records']:,}",
        ]
        for stage in found
        if stage["records"] or stage["largest_read"]
    ]
    table(
        [
            "stage",
            "name",
            "tasks",
            "task s",
            "slowest s",
            "records",
            "bytes",
            "largest read B",
            "largest records",
        ],
        rows,
    )
