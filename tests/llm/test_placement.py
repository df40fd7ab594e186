"""Where an engine's tasks run, in a local session; on a cluster: tests/process/test_gpu_cluster.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from udfs.engines import gpus
from webscale_rl.llm import placement
from webscale_rl.llm.engines import Engine, EngineSettings
from webscale_rl.llm.placement import place


def engine(**settings: Any) -> Engine:
    return Engine("fake", EngineSettings(engine="tests.fakes:FakeEngine", **settings), {})


def test_models_have_python_workers_of_their_own(spark: SparkSession) -> None:
    found = place(spark, engine())
    assert (found.workers, found.profile, found.notes) == (2, None, ())
    assert place(spark, engine()).spark is found.spark, "one session, and so one pool, for all engines"

    def pids(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            pass
        yield pa.RecordBatch.from_pydict({"pid": [os.getpid()]})

    def workers(session: SparkSession) -> set[int]:
        rows = session.range(0, 4, 1, 2).mapInArrow(pids, "pid long").collect()
        return {row["pid"] for row in rows}

    assert not workers(spark) & workers(found.spark)
    settings = ("spark.sql.shuffle.partitions", "spark.sql.session.timeZone", "spark.sql.adaptive.enabled")
    assert [found.spark.conf.get(name) for name in settings] == [spark.conf.get(name) for name in settings]


@pytest.mark.parametrize(
    ("shown", "needed", "workers"), [((), 1, 1), (("0", "1", "2"), 1, 3), (("4", "5"), 2, 1)]
)
def test_a_local_master_has_the_machine_s_gpus(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, shown: tuple[str, ...], needed: int, workers: int
) -> None:
    monkeypatch.setattr(placement, "visible", lambda: shown)
    found = place(spark, engine(gpus=needed))
    assert (found.workers, found.profile) == (workers, None)
    assert any("local master" in note for note in found.notes)
    assert place(spark, engine(gpus=needed, workers=7)).workers == 7


def test_what_the_user_shows_is_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert gpus.visible() == ("2", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.visible() == ()


def test_an_engine_says_how_many_gpus_it_needs() -> None:
    def needs(**more: Any) -> int:
        options = {"model": "some/model", "args": more}
        return Engine("v", EngineSettings(engine="vllm", options=options), {}).gpus

    assert needs() == 1
    assert needs(tensor_parallel_size=2, pipeline_parallel_size=2) == 4
    settings = EngineSettings(engine="vllm", options={"model": "m"}, gpus=0)
    assert Engine("v", settings, {}).spec["gpus"] == 0
    assert engine().gpus == 0
