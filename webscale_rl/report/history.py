"""What the tables say of one document, passage or pair, as plain rows for `show`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.stage import Subject
from webscale_rl.errors import UserError
from webscale_rl.report.requests import Asked, Rendered, render
from webscale_rl.report.views import active_recipes
from webscale_rl.runtime.flow import current_documents
from webscale_rl.runtime.passes.decided import is_outcome
from webscale_rl.stages.registry import STAGES
from webscale_rl.storage.warehouse import Warehouse

Row = dict[str, Any]

_LISTED = 8
_ONLY_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Answered:
    """A row of a stage with the request that it came from and the raw reply.

    Attributes:
        asked: False where the row came about without a model.
        request: as it is rendered today.
        completion: row of `completions`; None where there is none.
        body: the recipe's body.
    """

    asked: bool
    request: Rendered | None = None
    completion: Row | None = None
    body: Row | None = None


def resolve(warehouse: Warehouse, key: str) -> tuple[str, str]:
    """The kind (pair, passage, document) and the full key that a key or its beginning names.

    Raises:
        UserError: no key begins so, or several do.
    """
    wanted = key.strip().lower()
    if not wanted or not set(wanted) <= _ONLY_HEX:
        raise UserError(
            f"{key!r} is no key: give a pair_key, passage_key or document_key, or its beginning"
            ' (webscale-rl sql "SELECT pair_key, question FROM qa_pairs LIMIT 5")'
        )
    frames = [
        warehouse.read(subject.table)
        .where(F.startswith(F.col(subject.key), F.lit(wanted)))
        .select(F.lit(subject.value).alias("kind"), F.col(subject.key).alias("key"))
        for subject in Subject
    ]
    matches = reduce(DataFrame.unionByName, frames).distinct().orderBy("key", "kind")
    found = [(row["kind"], row["key"]) for row in matches.limit(_LISTED + 1).collect()]
    exact = [match for match in found if match[1] == wanted]
    if len(exact) == 1:
        return exact[0]
    if not found:
        raise UserError(f"no pair, passage or document has a key that begins with {wanted}")
    if len(found) > 1:
        listed = ", ".join(f"{match[1][:12]} ({match[0]})" for match in found[:_LISTED])
        more = ", ..." if len(found) > _LISTED else ""
        raise UserError(f"several keys begin with {wanted}: {listed}{more}")
    return found[0]


class History:
    """Reads rows of one warehouse, those in force first."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.active = active_recipes(warehouse)
        self._bodies: dict[str, Row] = {}

    def rows(self, table: str, **equal: str) -> list[Row]:
        """A table's rows whose columns have these values, the newest run first."""
        found = self.warehouse.read(table)
        for name, value in equal.items():
            found = found.where(F.col(name) == F.lit(value))
        ordered = found.orderBy(F.desc("run")) if "run" in found.columns else found
        return [row.asDict(recursive=True) for row in ordered.collect()]

    def verdicts(self, stage: str, **equal: str) -> list[Row]:
        """A stage's rows: the one in force first (`in_force`), then the others, newest first."""
        return self.sorted(stage, self.rows(STAGES.get(stage).table.name, **equal))

    def of_keys(self, stage: str, name: str, keys: list[str]) -> dict[str, Row]:
        """A stage's row for each of some keys that has one: that in force, else the newest."""
        found = self.warehouse.read(STAGES.get(stage).table.name).where(F.col(name).isin(keys))
        rows = [row.asDict(recursive=True) for row in found.orderBy(F.desc("run")).collect()]
        return {row[name]: row for row in reversed(self.sorted(stage, rows))}

    def sorted(self, stage: str, rows: list[Row]) -> list[Row]:
        """Rows of a stage marked with `in_force`, those that are first."""
        marked = [row | {"in_force": row["recipe"] == self.active.get(stage)} for row in rows]
        return sorted(marked, key=lambda row: not row["in_force"])

    def document(self, key: str) -> Row:
        """The last row of a document; `in_force` is False where another text has replaced it."""
        rows = self.warehouse.read("documents")
        mine = rows.where(F.col("document_key") == key).orderBy(F.desc("ingest_commit"), F.desc("run"))
        found = [row.asDict(recursive=True) for row in mine.limit(1).collect()]
        if not found:
            return {"document_key": key, "in_force": False, "reasons": []}
        row = found[0]
        same = rows.where(F.col("document_key") == key)
        if row["source_id"] is not None:
            same = rows.where((F.col("source") == row["source"]) & (F.col("source_id") == row["source_id"]))
        current = current_documents(same).where(F.col("document_key") == key)
        return row | {"in_force": not current.isEmpty()}

    def is_accepted(self, pair_key: str) -> bool:
        """Whether a pair stands in the product."""
        return bool(self.rows("qa_pairs", pair_key=pair_key))

    def current_of(self, stage: str, rows: list[Row]) -> list[Row]:
        """Of rows under several recipes those of one: the recipe in force, else the newest."""
        ordered = self.sorted(stage, sorted(rows, key=lambda row: -row["run"]))
        return [row for row in ordered if row["recipe"] == ordered[0]["recipe"]]

    def body(self, recipe: str | None) -> Row | None:
        """A recipe's body."""
        if recipe is None:
            return None
        if recipe not in self._bodies:
            rows = self.rows("recipes", recipe=recipe)
            if not rows:
                return None
            self._bodies[recipe] = json.loads(rows[0]["body"])
        return self._bodies[recipe]

    def learn_bodies(self, recipes: set[str]) -> None:
        """Read several bodies at once."""
        wanted = sorted(recipes - set(self._bodies))
        found = self.warehouse.read("recipes").where(F.col("recipe").isin(wanted))
        for row in found.select("recipe", "body").collect():
            self._bodies[row["recipe"]] = json.loads(row["body"])

    def answered(self, rows: list[tuple[Row, Row]]) -> list[Answered]:
        """Each row's request and reply.

        Args:
            rows: a row with `request_id` and `recipe`, and the subject that its request is made from.
        """
        self.learn_bodies({row["recipe"] for row, _ in rows})
        with_request = [
            (index, row, subject)
            for index, (row, subject) in enumerate(rows)
            if row.get("request_id") is not None and self.body(row["recipe"]) is not None
        ]
        asked = [Asked(self._bodies[row["recipe"]], subject) for _, row, subject in with_request]
        rendered = dict(
            zip(
                (index for index, _, _ in with_request),
                render(self.warehouse.spark, asked),
                strict=True,
            )
        )
        replies = self._completions({row["request_id"] for _, row, _ in with_request})
        return [
            Answered(
                row.get("request_id") is not None,
                rendered.get(index),
                replies.get(row.get("request_id") or ""),
                self.body(row["recipe"]),
            )
            for index, (row, _) in enumerate(rows)
        ]

    def _completions(self, request_ids: set[str]) -> dict[str, Row]:
        if not request_ids:
            return {}
        found = self.warehouse.read("completions").where(
            F.col("request_id").isin(sorted(request_ids)) & is_outcome()
        )
        return {row["request_id"]: row.asDict(recursive=True) for row in found.collect()}
