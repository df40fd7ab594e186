"""The Spark session of the runners that need one: the package's own, with an event log where it is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession


def session(work: Path, options: dict[str, Any]) -> SparkSession:
    """`webscale_rl.spark.session.build_session` on two cores, with whatever ``options["conf"]`` adds.

    ``options["events"]``: whether to write down what Spark does, which takes time of its own (default true).
    """
    from webscale_rl.spark.session import build_session

    conf: dict[str, str] = {}
    if options.get("events", True):
        events = work / "events"
        events.mkdir(parents=True, exist_ok=True)
        conf = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": events.as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.compress": "false",
            "spark.eventLog.logStageExecutorMetrics": "true",
            "spark.executor.processTreeMetrics.enabled": "true",
        }
    conf |= options.get("conf", {})
    return build_session(app_name="dedup-benchmark", master=options.get("master", "local[2]"), conf=conf)
