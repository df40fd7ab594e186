"""What the base installation leaves out, and how its absence is told."""

from __future__ import annotations

import importlib
import importlib.util
import re

from webscale_rl.errors import MissingSparkError

OLDEST_SPARK = 4


def require_spark() -> None:
    """See that there is a Spark to run on, wherever it comes from (an extra, the platform, SPARK_HOME).

    Raises:
        MissingSparkError: there is none, or one of another age; the message is one line.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise MissingSparkError(
            "the pipeline needs Spark, which is not installed: pip install 'webscale-rl[spark]'"
        )
    found = str(getattr(importlib.import_module("pyspark"), "__version__", ""))
    major = re.match(r"\d+", found)
    if major and int(major[0]) < OLDEST_SPARK:
        raise MissingSparkError(
            f"the Spark that is installed is {found}, Spark {OLDEST_SPARK} is needed: "
            "pip install 'webscale-rl[spark]', or a newer release of your platform"
        )
