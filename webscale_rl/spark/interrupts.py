"""Ctrl-C while Spark works: its jobs are cancelled, and the main thread gets its KeyboardInterrupt.

PySpark's own handler asks the JVM to cancel over the connection whose answer the main thread is reading:
a read within a read, which fails, so that the jobs go on. And an exception that is raised while Py4J reads
breaks its connections, so that the end of the run cannot be recorded. Hence here the call that is under
way comes to its end (soon, since its jobs are cancelled from another thread), and the next one raises.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future, wait
from types import FrameType
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from webscale_rl.spark.errors import LOST_JVM_ERRORS, SPARK_ERRORS

# A call may start several jobs one after the other, so they are cancelled until it has ended.
_PAUSE_SECONDS = 0.25


def cancel_jobs_on_interrupt(spark: SparkSession) -> None:
    """Take the place of PySpark's handler of SIGINT; nothing outside the main thread, which has none."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _Interrupt(spark))


def cancel_tagged(spark: SparkSession, tag: str, running: Iterable[Future[Any]]) -> None:
    """Cancel the jobs of threads that are still at work, again and again until the threads have ended.

    Args:
        tag: what the threads have tagged their operations with.
    """
    left = [future for future in running if not future.cancel()]
    if left and isinstance(sys.exception(), KeyboardInterrupt) and not is_remote():
        with contextlib.suppress(Exception):
            # That the jobs fail is no news, as below.
            spark.sparkContext.setLogLevel("OFF")
    while left:
        with contextlib.suppress(*SPARK_ERRORS, *LOST_JVM_ERRORS):
            spark.interruptTag(tag)
        left = list(wait(left, _PAUSE_SECONDS).not_done)


class _Interrupt:
    """A handler of SIGINT for a session."""

    def __init__(self, spark: SparkSession) -> None:
        self._context = spark.sparkContext
        self._client: Any = self._context._gateway._gateway_client  # type: ignore[union-attr]
        self._waiting = False
        self._nudged = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        nudged, self._nudged = self._nudged, False
        # Whoever presses it twice does not want to wait.
        if not _calls_java(frame) or (self._waiting and not nudged):
            self._raise()
        if not self._waiting:
            self._waiting = True
            self._client.send_command = self._send_command
            threading.Thread(target=self._cancel, name="cancel-jobs", daemon=True).start()

    def _raise(self) -> None:
        self._waiting = False
        # The method of the class is there again.
        self._client.__dict__.pop("send_command", None)
        raise KeyboardInterrupt

    def _send_command(self, *arguments: Any, **options: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            self._raise()
        return type(self._client).send_command(self._client, *arguments, **options)

    def _cancel(self) -> None:
        with contextlib.suppress(Exception):
            # That the jobs fail is no news, and Spark would say so in a hundred lines of Java.
            self._context.setLogLevel("OFF")
        pause = threading.Event()
        while self._waiting:
            with contextlib.suppress(Exception):
                self._context.cancelAllJobs()
            pause.wait(_PAUSE_SECONDS)
            main = threading.main_thread().ident
            if self._waiting and not _calls_java(sys._current_frames().get(main or 0)):
                self._nudged = True
                _thread.interrupt_main()


def _calls_java(frame: FrameType | None) -> bool:
    """Whether code of Py4J is on the stack."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False
