"""A cluster of this machine's processes whose executors announce GPUs that are not there."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def fake_gpus(folder: Path, gpus: int) -> dict[str, str]:
    """Spark settings for executors that announce so many GPUs each.

    Args:
        folder: where the discovery script is written.
    """
    script = folder / "gpus.sh"
    addresses = ", ".join(f'"{number}"' for number in range(gpus))
    script.write_text(f"""#!/bin/sh\necho '{{"name": "gpu", "addresses": [{addresses}]}}'\n""")
    script.chmod(0o755)
    return {
        "spark.executor.memory": "1g",
        "spark.executor.resource.gpu.amount": str(gpus),
        "spark.executor.resource.gpu.discoveryScript": str(script),
        "spark.worker.resource.gpu.amount": str(gpus),
        "spark.worker.resource.gpu.discoveryScript": str(script),
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
    }
