"""A completion is described once: whatever repeats its fields is derived."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from udfs.engines.completion import (
    COMPLETION_DDL,
    COMPLETION_SCHEMA,
    FIELDS,
    REPLY_FIELDS,
    Completion,
    completions_batch,
)
from udfs.engines.prompting import REPLY_DDL
from webscale_rl.storage.tables import COMPLETIONS


def test_fields_are_those_of_the_class_in_its_order() -> None:
    names = [field.name for field in dataclasses.fields(Completion)]
    assert [field.name for field in FIELDS] == names == COMPLETION_SCHEMA.names
    assert names[0] == "request_id"
    assert [name for name in names if name not in REPLY_FIELDS] == [
        "request_id",
        "fault",
        "seconds",
        "load_seconds",
    ]


def test_spark_sees_what_arrow_carries(spark: SparkSession) -> None:
    carried = from_arrow_schema(COMPLETION_SCHEMA)
    assert StructType.fromDDL(COMPLETION_DDL) == carried
    kept = {name: kind for name, kind, _ in COMPLETIONS.columns}
    assert {field.name: field.dataType for field in carried} == {name: kept[name] for name in carried.names}
    assert StructType.fromDDL(REPLY_DDL).names == [
        *("text", "error", "finish_reason", "prompt_tokens", "cached_tokens", "completion_tokens")
    ]


def test_the_table_keeps_its_order() -> None:
    assert [name for name, _, meaning in COMPLETIONS.columns if meaning] == [
        *("request_id", "stage", "chunk", "engine", "model", "text", "finish_reason", "fault", "error"),
        *("prompt_tokens", "cached_tokens", "completion_tokens", "mean_logprob", "min_logprob"),
        *("choice_logprobs", "seconds", "load_seconds", "decided_by", "finished_at", "run"),
    ]


@pytest.mark.parametrize(
    "completion",
    [
        Completion("a", text="x", choice_logprobs=[-1.0, -2.0], load_seconds=0.0),
        Completion.failed("b", "permanent", "bad_request: a lone \ud800 surrogate\nand two lines"),
    ],
)
def test_a_completion_is_one_row(completion: Completion) -> None:
    batch = completions_batch([completion])
    assert batch.schema == COMPLETION_SCHEMA
    row = batch.to_pylist()[0]
    assert row["request_id"] == completion.request_id
    assert "\n" not in (row["error"] or "")
    assert pa.array([row["error"]], pa.string()).validate(full=True) is None


def test_a_fault_s_former_name_is_understood() -> None:
    assert Completion.failed("a", "permanent", "x").fault == "permanent"  # type: ignore[arg-type]
    assert Completion("a", finish_reason="error", fault="transient").fault == "transient"  # type: ignore[arg-type]
    assert completions_batch([Completion("a")]).column("fault").to_pylist() == [None]
