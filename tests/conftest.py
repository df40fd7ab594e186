"""The one Spark session of the test suite, and what tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from tests import smallrun
from tests.helpers import SMALL_SESSION
from webscale_rl.spark.session import build_session

# How long an example takes is the machine's load, too, and so no property of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with Delta that is quick with small frames."""
    place = {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("spark-warehouse"))}
    session = build_session(app_name="tests", master="local[2,2]", conf=SMALL_SESSION | place)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def small_run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> smallrun.SmallRun:
    """One small run for all modules and processes of the tests: to be read only."""
    root = tmp_path_factory.getbasetemp()
    return smallrun.small_run((root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "small-run")
