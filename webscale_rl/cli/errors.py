"""Errors as one line and an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from webscale_rl.errors import UserError, WebscaleRLError

EXIT_DONE, EXIT_FAILED, EXIT_USER_ERROR, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


def guarded(action: Callable[[], int], debug: bool = False) -> int:
    """Run an action; its errors become one line on standard error and an exit code."""
    from webscale_rl.spark.errors import LOST_JVM_ERRORS, SPARK_ERRORS, first_line

    if not debug:
        # Py4J logs a traceback of its own for a call that Ctrl-C has cut off.
        logging.getLogger().addHandler(logging.NullHandler())
        _mute_query_logs()
    try:
        return action()
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; run again to continue", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except WebscaleRLError as error:
        if debug:
            raise
        print(f"failed: {error}", file=sys.stderr)
        return EXIT_FAILED
    except LOST_JVM_ERRORS as error:
        if debug:
            raise
        print(
            f"failed: Spark's Java process has gone (killed, or out of memory; {first_line(error)}): "
            "what was finished is kept; run again to continue",
            file=sys.stderr,
        )
        return EXIT_FAILED
    except SPARK_ERRORS as error:
        if debug:
            raise
        line = first_line(error)
        if "DATA_SOURCE_NOT_FOUND" in line and "delta" in line:
            print(
                "error: Spark has no Delta: start it with --packages or with Delta's jars (README, "
                "'On a cluster')",
                file=sys.stderr,
            )
            return EXIT_USER_ERROR
        print(f"failed: {line} (--debug shows everything)", file=sys.stderr)
        return EXIT_FAILED


def _mute_query_logs() -> None:
    """Keep Spark from printing the Java stack of a wrong query beside our one line."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True
