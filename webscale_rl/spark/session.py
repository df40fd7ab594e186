"""The only module that builds a Spark session or knows about jars.

Where Delta is on the classpath already (Databricks, a cluster that has it, `spark-submit --packages`)
nothing is added; else a folder of jars named in the configuration or in ``WEBSCALE_RL_JARS`` is used;
else the jars that an earlier session has fetched; else Spark resolves them by their Maven coordinates.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from webscale_rl.errors import UserError
from webscale_rl.spark.errors import SPARK_ERRORS
from webscale_rl.spark.interrupts import cancel_jobs_on_interrupt

_DESCRIPTION = "spark.job.description"
_WORKER_PYTHON = "spark.sql.execution.pyspark.python"
JARS_ENV = "WEBSCALE_RL_JARS"

DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"

# Delta needs its own two jars only; the rest of what Maven lists for it is in Spark already, or
# belongs to features (sharing, spatial types) that are not used here.
_NOT_NEEDED = ",".join(
    f"{group}:*"
    for group in ("org.*", "com.*", "net.*", "commons-*", "javax.*", "io.airlift", "io.unitycatalog")
)

# A laptop's tables are small: Delta's defaults are sized for clusters (50 partitions to read a log).
LOCAL_CONF = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    # A heap of that size needs no parallel collector, and 20 MB of classes are no reason to collect.
    "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:MetaspaceSize=256m",
}

# Needed wherever a model is called: a speculative copy of a task would pay for the same tokens twice.
COMMON_CONF = {
    "spark.speculation": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Asking the JVM where in Python each column was written costs more than a small query's plan.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}


def delta_coordinates() -> str:
    """Maven coordinates of the Delta release that belongs to the installed pyspark and delta-spark.

    Raises:
        UserError: delta-spark is not installed.
    """
    import pyspark

    try:
        delta = version("delta-spark")
    except PackageNotFoundError as error:
        raise UserError("delta-spark is not installed: pip install 'webscale-rl[spark]'") from error
    spark = ".".join(pyspark.__version__.split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{delta}"


def jars_folder(configured: str | None = None) -> list[str]:
    """The jar files of the configured folder, or of ``WEBSCALE_RL_JARS``; empty when neither is set.

    Raises:
        UserError: the folder does not exist or holds no jar.
    """
    folder = configured or os.environ.get(JARS_ENV)
    if not folder:
        return []
    jars = sorted(str(path) for path in Path(folder).expanduser().glob("*.jar"))
    if not jars:
        raise UserError(
            f"no jar files in {folder}: put delta-spark and delta-storage there, "
            f"or unset spark.jars / {JARS_ENV} to let Spark fetch them"
        )
    return jars


def fetched_jars() -> list[str]:
    """Delta's jars where an earlier session has fetched them (Ivy's default folder); empty if one is missing.

    Naming the files starts a session a second sooner than resolving them again, without a word, and also
    where the network is gone.
    """
    delta, number = delta_coordinates().rsplit(":", 2)[-2:]
    names = (f"io.delta_{delta}-{number}.jar", f"io.delta_delta-storage-{number}.jar")
    for folder in sorted(Path.home().glob(".ivy2*/jars"), reverse=True):
        found = [folder / name for name in names]
        if all(path.is_file() for path in found):
            found += sorted(folder.glob(f"io.delta_delta-kernel-*-{number}.jar"))
            return [str(path) for path in found]
    return []


def build_session(
    app_name: str = "webscale-rl",
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    jars: str | None = None,
) -> SparkSession:
    """Start (or join) the Spark session with Delta.

    Args:
        master: a Spark master; None leaves it to spark-submit or the platform, and where neither names
            one, ``local[*,4]`` is used (``local[*]`` retries nothing when a Python worker dies).
        conf: settings that win over this module's.
        jars: a folder with Delta's jars, for machines without Maven.

    Raises:
        UserError: the jars folder is empty, or the session cannot start.
    """
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    # Databricks has a session that knows Delta, and catalogs of its own.
    databricks = "DATABRICKS_RUNTIME_VERSION" in os.environ
    # Started by spark-submit: its JVM is up already.
    submitted = databricks or "PYSPARK_GATEWAY_PORT" in os.environ
    settings = dict(COMMON_CONF)
    if master is None and not submitted and "SPARK_REMOTE" not in os.environ:
        master = "local[*,4]"
    if (master or "").startswith("local["):
        settings.update(LOCAL_CONF)
    if not databricks:
        settings.update(
            {
                "spark.sql.extensions": DELTA_EXTENSION,
                "spark.sql.catalog.spark_catalog": DELTA_CATALOG,
            }
        )
    found = jars_folder(jars)
    if not found and not submitted:
        found = fetched_jars()
    if found:
        settings["spark.jars"] = ",".join(found)
    elif not submitted:
        settings["spark.jars.packages"] = delta_coordinates()
        settings["spark.jars.excludes"] = _NOT_NEEDED
    if master is None or master.startswith("local"):
        # Workers on this machine need the packages of this environment, whatever `python3` means.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings.update(conf or {})
    builder = SparkSession.builder.appName(app_name)
    if master is not None:
        builder = builder.master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    if not submitted and (master or "").startswith("local"):
        session.sparkContext.setLogLevel("ERROR")
    if not is_remote():
        cancel_jobs_on_interrupt(session)
    return session


def is_local(spark: SparkSession) -> bool:
    """Whether everything runs on this machine."""
    return (spark.conf.get("spark.master", "") or "").startswith("local")


def is_one_process(spark: SparkSession) -> bool:
    """Whether driver and executor are one process, which schedules no resources."""
    master = spark.conf.get("spark.master", "") or ""
    return master == "local" or master.startswith("local[")


@contextmanager
def described(what: str) -> Iterator[None]:
    """Say in Spark's UI and event log what the jobs of this block are for (not over Spark Connect)."""
    session = None if is_remote() else SparkSession.getActiveSession()
    if session is None:
        yield
        return
    context = session.sparkContext
    before = context.getLocalProperty(_DESCRIPTION)
    context.setLocalProperty(_DESCRIPTION, what)
    try:
        yield
    finally:
        context.setLocalProperty(_DESCRIPTION, before)  # type: ignore[arg-type]


def with_own_workers(spark: SparkSession) -> tuple[SparkSession, str | None]:
    """A session beside this one whose Python functions run in workers of their own, and why if there is none.

    Spark keeps idle Python workers by the path of their interpreter. Another spelling of the same path gives
    the functions that call a model workers of their own, so that no other function's task keeps the engine's
    worker busy, and no task of theirs lands in a worker without the engine.

    Returns:
        The session (the given one where another cannot be had), and the reason where it is the given one.
    """
    if is_remote():
        return spark, "Spark Connect does not say which Python its workers run"
    current = spark.conf.get(_WORKER_PYTHON, None) or spark.sparkContext.pythonExec
    if "/" not in current:
        return spark, f"the workers' Python is named {current!r}, without a path (PYSPARK_PYTHON)"
    other = spark.newSession()
    for key, value in spark.conf.getAll.items():
        if key.startswith(("spark.sql.", "spark.databricks.")) and other.conf.get(key, None) != value:
            with contextlib.suppress(*SPARK_ERRORS):
                other.conf.set(key, value)
    other.conf.set(_WORKER_PYTHON, ("/." if current.startswith("/") else "./") + current)
    return other, None


def executors(spark: SparkSession) -> int:
    """Executors that are up or configured, whichever are more; 1 for a local master."""
    if is_remote() or is_one_process(spark):
        return 1
    master = spark.conf.get("spark.master", "") or ""
    configured = spark.conf.get("spark.executor.instances", "") or ""
    if master.startswith("local-cluster["):
        configured = master.partition("[")[2].split(",")[0]
    java: Any = spark.sparkContext._jsc
    up = len(java.sc().statusTracker().getExecutorInfos()) - 1
    return max(up, int(configured) if configured.strip().isdigit() else 0, 1)


def parallelism(spark: SparkSession) -> int:
    """Tasks that run side by side: for a local master its threads, else what the session says.

    Over Spark Connect, and where nothing is said, the number of shuffle partitions stands in.
    """
    master = spark.conf.get("spark.master", "") or ""
    if master.startswith("local["):
        threads = master[6:].split(",")[0].rstrip("]")
        return (os.cpu_count() or 1) if threads == "*" else int(threads)
    if master.startswith("local-cluster["):
        number, cores_each = master.partition("[")[2].split(",")[:2]
        return int(number) * int(cores_each)
    instances = spark.conf.get("spark.executor.instances", "") or ""
    cores = spark.conf.get("spark.executor.cores", "1") or "1"
    if instances.isdigit() and cores.isdigit():
        return max(1, int(instances) * int(cores))
    return int(spark.conf.get("spark.sql.shuffle.partitions", "8") or 8)
