"""The one Spark session of the test suite, and what tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from tests.helpers import JAVA_OPTIONS
from webscale_rl.session import build_session

# What costs a small frame more than its rows do. Compiling each query (and planning it anew after each
# shuffle) pays for large ones only; `make test-process` runs the chain with Spark's own defaults.
CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.stats.collect": "false",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "1000",
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
    "spark.driver.extraJavaOptions": JAVA_OPTIONS,
}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with Delta that is quick with small frames."""
    place = {"spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("spark-warehouse"))}
    session = build_session(app_name="tests", master="local[2,2]", conf=CONF | place)
    yield session
    session.stop()
