"""What Spark raises: its own exceptions where it converts them, a bare Java exception where it does not.

A job that fails while a table is written, and Delta's conflicts, arrive as the latter.
"""

from __future__ import annotations

import re

from pyspark.errors import PySparkException

SPARK_ERRORS: tuple[type[Exception], ...] = (PySparkException,)
# Raised when the Java process has gone (killed, or out of memory); nothing more can be done with it.
LOST_JVM_ERRORS: tuple[type[Exception], ...] = (ConnectionError,)

try:
    from py4j.protocol import Py4JJavaError, Py4JNetworkError
except ImportError:  # Spark Connect's thin client comes without it
    pass
else:
    SPARK_ERRORS = (PySparkException, Py4JJavaError)
    LOST_JVM_ERRORS = (ConnectionError, Py4JNetworkError)


_RAISED = re.compile(r"(?:\w+\.)*(\w+): \S")


def first_line(error: BaseException) -> str:
    """The line of an error's message that says something, for a message of ours: what a Python worker has
    raised, else the first one.
    """
    _, is_python, traceback = str(error).partition("Traceback (most recent call last):")
    if is_python:
        # Up to Java's own frames; the last exception is the one that the others led to.
        raised = [
            line[found.start(1) :].strip()
            for line in traceback.partition("\tat ")[0].splitlines()
            if (found := _RAISED.match(line))
        ]
        if raised:
            return raised[-1]
    lines = [line.strip().lstrip(": ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("An error occurred while calling")]
    return telling[0] if telling else type(error).__name__
