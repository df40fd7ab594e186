"""Ctrl-C while Spark works: its jobs are cancelled, and the main thread gets its KeyboardInterrupt.

PySpark's own handler asks the JVM to cancel over the connection whose answer the main thread is reading:
a read within a read, which fails, so that the jobs go on and a traceback is logged. The handler here asks
from a thread, which has a connection of its own.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import NoReturn

from pyspark.sql import SparkSession

# The JVM answers at once; where it does not, it has gone and there is nothing to cancel.
_PATIENCE_SECONDS = 10.0


def cancel_jobs_on_interrupt(spark: SparkSession) -> None:
    """Take the place of PySpark's handler of SIGINT; nothing outside the main thread, which has none."""
    if threading.current_thread() is not threading.main_thread():
        return
    context = spark.sparkContext

    def cancel() -> None:
        with contextlib.suppress(Exception):
            context.cancelAllJobs()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        asking = threading.Thread(target=cancel, name="cancel-jobs", daemon=True)
        asking.start()
        # Waited for: a later cancel would hit the jobs that record the end of the run.
        asking.join(_PATIENCE_SECONDS)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
