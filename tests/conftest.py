"""The one Spark session of the test suite, and what tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.helpers import SMALL_SESSION
from webscale_rl.session import build_session


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with Delta that is quick with small frames."""
    place = {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("spark-warehouse"))}
    session = build_session(app_name="tests", master="local[2,2]", conf=SMALL_SESSION | place)
    yield session
    session.stop()
