"""What Spark raises: its own exceptions where it converts them, a bare Java exception where it does not.

A job that fails while a table is written, and Delta's conflicts, arrive as the latter.
"""

from __future__ import annotations

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


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, for a message of ours."""
    lines = [line.strip().lstrip(": ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("An error occurred while calling")]
    return telling[0] if telling else type(error).__name__
