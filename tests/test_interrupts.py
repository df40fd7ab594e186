"""Ctrl-C while Spark works, in this process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from webscale_rl.spark.interrupts import cancel_jobs_on_interrupt


@pytest.fixture
def handled(spark: SparkSession) -> Iterator[SparkSession]:
    before = signal.getsignal(signal.SIGINT)
    cancel_jobs_on_interrupt(spark)
    yield spark
    signal.signal(signal.SIGINT, before)
    spark.sparkContext.setLogLevel("ERROR")


def running(spark: SparkSession) -> bool:
    return bool(spark.sparkContext.statusTracker().getActiveJobsIds())


def test_a_job_is_cancelled_and_spark_can_be_used_after_it(handled: SparkSession) -> None:
    # A worker gets a function of a function by value; the tests are no module that it can import.
    def asleep(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            time.sleep(120)
            yield batch

    rows = handled.range(2).mapInArrow(asleep, "id bigint")
    over = threading.Event()

    def interrupt() -> None:
        while not running(handled) and not over.is_set():
            time.sleep(0.05)
        # A signal that comes later would end the session of all tests.
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(2):
        thread = threading.Thread(target=interrupt)
        thread.start()
        started = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                rows.collect()
        finally:
            over.set()
            thread.join()
            over.clear()
        assert time.monotonic() - started < 60
        # The connection is whole and no later job is hit: what a run does at its end can be done.
        assert handled.range(3).count() == 3
        # Spark says a little later that a job has ended.
        until = time.monotonic() + 10
        while running(handled) and time.monotonic() < until:
            time.sleep(0.05)
        assert not running(handled)


def test_outside_spark_it_is_an_ordinary_interrupt(handled: SparkSession) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert handled.range(3).count() == 3
    other = threading.Thread(target=cancel_jobs_on_interrupt, args=(handled,))
    handler = signal.getsignal(signal.SIGINT)
    other.start()
    other.join()
    assert signal.getsignal(signal.SIGINT) is handler, "only the main thread has handlers"
