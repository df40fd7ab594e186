"""A model that earlier versions called otherwise is the same one, in a warehouse that knows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.helpers import make_pipeline
from webscale_rl.core.fingerprint import recipe_hash
from webscale_rl.run.known_models import CLAIM, in_force
from webscale_rl.run.pipeline import Pipeline

NEW, OLD = {"model": "new", "dtype": "x"}, {"model": "old", "dtype": "x"}


@pytest.mark.parametrize(
    ("known", "claims", "model"),
    [
        (set(), {}, "new"),
        ({"old"}, {}, "old"),
        ({"new"}, {}, "new"),
        ({"old", "new"}, {}, "new"),
        ({"old"}, {"old": "new"}, "old"),
        ({"old"}, {"old": "another"}, "new"),
        ({"old", "new"}, {"old": "another"}, "new"),
    ],
)
def test_the_earlier_name_stays_in_force_where_it_alone_is_known(
    known: set[str], claims: dict[str, str], model: str
) -> None:
    assert in_force(NEW, [OLD], known.__contains__, claims)["model"] == model
    assert in_force(NEW, [], known.__contains__, claims) is NEW


def test_a_warehouse_goes_on_under_the_earlier_name(spark: SparkSession, tmp_path: Path) -> None:
    def pipeline(**options: Any) -> Pipeline:
        return make_pipeline(spark, tmp_path, **options)

    def recipe(**options: Any) -> str:
        return recipe_hash(pipeline(**options).bodies(["screen"])["screen"])

    first = recipe(variant="ends")
    assert recipe(variant="whole", was="ends") != first, (
        "a warehouse that knows nothing takes the present name"
    )
    pipeline(variant="ends").run(stages=["screen"])
    # Equal recipes, so neither rows nor requests are done again; looking claims nothing.
    assert recipe(variant="other", was="ends") == recipe(variant="whole", was="ends") == first
    pipeline(variant="whole", was="ends").run(stages=["screen"])
    assert recipe(variant="whole", was="ends") == first
    # Another model that had the same name before is another one.
    assert recipe(variant="other", was="ends") == recipe(variant="other") != first
    recipes = pipeline().open().read("recipes").collect()
    claims = [json.loads(row["body"]) for row in recipes if row["stage"] == CLAIM]
    models = [pipeline(variant=name).engines.get("fake").identity["model"] for name in ("ends", "whole")]
    assert claims == [{"earlier": models[0], "model": models[1]}]
