"""A model that an earlier version of the package named otherwise, recognised in a warehouse.

An engine may come to tell models apart by more than before, and then names each of them anew. A warehouse
that knows only the earlier name of a model goes on under that name, so nothing is asked again. Two models may
have had one earlier name: the first that is met claims it, in the table `recipes`; any other is a new model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyspark.sql import functions as F

from webscale_rl.core.fingerprint import canonical_json, recipe_hash
from webscale_rl.runtime.context import Context
from webscale_rl.storage.warehouse import Warehouse

# What such a claim has in the column `stage` of `recipes`; its body is {"earlier": name, "model": name}.
CLAIM = "same_model"

Identity = dict[str, Any]


def in_force(
    identity: Identity,
    legacy: Sequence[Identity],
    is_known: Callable[[str], bool],
    claims: Mapping[str, str],
) -> Identity:
    """The identity that a warehouse goes on with.

    Args:
        identity: the engine's, as it is today.
        legacy: those of earlier versions.
        is_known: whether a recipe of the warehouse names a model.
        claims: models by the earlier names that they have claimed.
    """
    model = identity["model"]
    for earlier in legacy:
        name = earlier["model"]
        if claims.get(name) == model:
            return earlier
        if name not in claims and is_known(name) and not is_known(model):
            return earlier
    return identity


class KnownModels:
    """The models that a warehouse knows.

    Args:
        opened: opens the warehouse; called only for an engine that had another identity before.
    """

    def __init__(self, opened: Callable[[], Warehouse]) -> None:
        self._opened = opened
        self._claims: dict[str, str] = {}

    def identity(self, identity: Identity, legacy: Sequence[Identity]) -> Identity:
        """The identity that the warehouse goes on with; a claim to an earlier name is remembered."""
        recipes = self._opened().read("recipes")
        rows = recipes.where(F.col("stage") == CLAIM).collect()
        claims = {body["earlier"]: body["model"] for body in (json.loads(row["body"]) for row in rows)}
        # Of two models with one earlier name, the first that this run meets has claimed it.
        claims |= self._claims

        def is_known(model: str) -> bool:
            names = recipes.where(F.col("stage") != CLAIM).where(F.col("body").contains(json.dumps(model)))
            return not names.isEmpty()

        found = in_force(identity, legacy, is_known, claims)
        if found["model"] != identity["model"] and found["model"] not in claims:
            self._claims[found["model"]] = identity["model"]
        return found

    def record(self, ctx: Context) -> None:
        """Write the claims that are new, as a run that holds the warehouse."""
        bodies = [{"earlier": earlier, "model": model} for earlier, model in self._claims.items()]
        self._claims = {}
        if bodies:
            rows = [(recipe_hash(body), CLAIM, canonical_json(body), ctx.run) for body in bodies]
            schema = ctx.warehouse.read("recipes").schema
            ctx.warehouse.append("recipes", ctx.spark.createDataFrame(rows, schema))
