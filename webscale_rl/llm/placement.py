"""Where an engine's tasks run: with which GPUs, in which Python workers, how many side by side."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from udfs.engines.base import COMPLETION_DDL
from udfs.engines.gpus import visible
from udfs.engines.worker import engine_function
from webscale_rl.llm.engines import Engine
from webscale_rl.spark.session import executors, is_one_process, parallelism, with_own_workers

# One a session, found again.
_own_workers = functools.cache(with_own_workers)


@dataclass(frozen=True)
class Placement:
    """Where an engine's tasks run.

    Attributes:
        spark: the session whose Python workers hold the engine.
        profile: the resource profile of the tasks; None for the session's own.
        workers: engines side by side.
        notes: what could not be had, each with its reason.
    """

    engine: Engine
    spark: SparkSession
    profile: Any
    workers: int
    notes: tuple[str, ...]

    def call(self, requests: DataFrame) -> DataFrame:
        """The completions of requests, as one lazy frame; every action calls the engine again.

        Args:
            requests: request_id string, request string.

        Returns:
            The columns of `udfs.engines.base.COMPLETION_DDL`.
        """
        function = engine_function(self.engine.spec)
        if self.profile is None:
            return requests.mapInArrow(function, COMPLETION_DDL)
        return requests.mapInArrow(function, COMPLETION_DDL, profile=self.profile)


def place(spark: SparkSession, engine: Engine) -> Placement:
    """Find a place for an engine in a session.

    GPUs come from Spark's resource scheduling: a profile for the model's tasks alone where the cluster allows
    it, else what the session gives every task, else those that the machine shows.
    """
    own, refused = _own_workers(spark)
    gpus = engine.gpus
    if not gpus:
        return Placement(engine, own, None, engine.settings.workers or parallelism(spark), ())
    # An engine without a GPU is quickly made again; one on a GPU holds it while its worker does other work.
    notes = [f"no separate Python workers: {refused}"] if refused else []
    profile, slots, why = _gpus(spark, gpus)
    if why:
        notes.append(f"no GPUs from Spark for its tasks alone: {why}")
    workers = engine.settings.workers or slots
    return Placement(engine, own, profile, workers, tuple(notes))


def _gpus(spark: SparkSession, gpus: int) -> tuple[Any, int, str | None]:
    """A resource profile (or None), engines that fit, and why there is no profile."""
    if is_one_process(spark):
        fit = len(visible()) // gpus
        return None, max(1, fit), "a local master schedules none; engines share out what this machine shows"
    each = _amount(spark, "spark.executor.resource.gpu.amount")
    a_task = _amount(spark, "spark.task.resource.gpu.amount")
    fit = max(1, executors(spark) * math.floor(each / gpus))
    if not each:
        why = "the executors announce none (spark.executor.resource.gpu.amount, and a discovery script)"
        return None, executors(spark), why
    if each < gpus:
        return None, fit, f"an executor has {each:g}, the engine wants {gpus}"
    if a_task == gpus:
        return None, fit, None  # every task of the session gets them
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    wanted = TaskResourceRequests().cpus(1).resource("gpu", gpus)
    return ResourceProfileBuilder().require(wanted).build, fit, None


def _amount(spark: SparkSession, key: str) -> float:
    try:
        return float(spark.conf.get(key, "0") or 0)
    except ValueError:
        return 0.0
