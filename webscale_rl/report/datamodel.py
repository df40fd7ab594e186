"""The data model as Markdown, from the table definitions: `python -m webscale_rl.report.datamodel`."""

from __future__ import annotations

from webscale_rl.core.table import SCHEMA_VERSION, Table
from webscale_rl.report.views import VIEWS
from webscale_rl.stages.registry import all_tables

_INTRODUCTION = f"""\
# Data model

Generated from the code by `make docs`; schema version {SCHEMA_VERSION}. All tables are Delta tables in one folder or
catalog schema. A stage's table has one row for each input row that the stage has finished, kept or rejected, under the
recipe that decided it. Pending rows have none. Many tables are partitioned by `recipe`, so rows of past recipes do not slow
down a run.

Keys are hex sha256: `document_key` of source, identifier, content hash and occurrence; `passage_key` of document,
segment settings and ordinal; `pair_key` of passage, generate recipe, domain, persona and ordinal; `request_id` of
the whole logical request.
"""

_VIEW_TEXT = {
    "rejects": "every rejected row in force: stage, key, document_key, passage_key, reasons, recipe, run",
    "funnel": "one row per stage: stage, rows_in, kept, rejected, pending, rows_out, reasons (map of reason "
    "to count); rows_in = kept + rejected + pending",
    "lineage": "one row per generated pair, with its passage, document and every later verdict; `accepted` "
    "is true for those in qa_pairs",
}


def table_markdown(table: Table) -> str:
    """One table's section."""
    lines = [f"### {table.name}", "", f"{table.meaning[0].upper()}{table.meaning[1:]}.", ""]
    if table.key:
        lines.append(f"Key: {', '.join(f'`{name}`' for name in table.key)}.")
    if table.partition_by:
        lines.append(f"Partitioned by: {', '.join(f'`{name}`' for name in table.partition_by)}.")
    lines += ["", "| column | type | meaning |", "| --- | --- | --- |"]
    for name, kind, meaning in table.columns:
        lines.append(f"| `{name}` | {kind.simpleString()} | {meaning} |")
    return "\n".join(lines)


def markdown() -> str:
    """The whole document."""
    parts = [_INTRODUCTION, "## Tables\n"]
    parts += [table_markdown(table) + "\n" for table in all_tables().values()]
    parts += [
        "## Views\n",
        "`webscale-rl sql` and `Pipeline.sql` know them, like the tables, by these names.\n",
    ]
    parts.append("\n".join(f"- `{name}`: {_VIEW_TEXT[name]}" for name in VIEWS) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(markdown(), end="")
