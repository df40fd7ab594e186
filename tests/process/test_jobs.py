"""The scripts in jobs/ as real `spark-submit` processes, and the wheel outside the clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.helpers import JAVA_OPTIONS, STAGE_NAMES
from webscale_rl.spark.session import delta_coordinates

pytestmark = pytest.mark.process

ROOT = Path(__file__).parent.parent.parent
SUBMIT = Path(sys.executable).parent / "spark-submit"

DOCUMENT = (
    "The Brennan lighthouse was built in 1861 by the engineer Ada Brennan on the north cape. "
    "Its lamp stands 43 metres above the sea and can be seen from a distance of 31 kilometres. "
    "The tower is made of granite because the older wooden tower had burnt down in 1858. "
    "Since 1974 the lamp has worked without a keeper, and the house beside it is a museum."
)
CONFIG = """
engines:
  fake: {engine: "tests.fakes:FakeEngine", options: {}, workers: 1, chunk_tokens: 20000, prices: null}
screen: {engine: fake, method: prompt, prompt: screen_identify}
identify: {engine: fake, method: prompt, prompt: screen_identify}
generate: {engine: fake, strategy: question_first, prompt: generate_question_first}
deduplicate: {method: exact}
check:
  gates: [round_trip]
  round_trip: {engine: fake, method: free, prompt: answer}
"""


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable} | environment
    return subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=400, env=env)


def submit(
    script: str, *arguments: str | Path, delta: tuple[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One job.

    Args:
        delta: where Delta comes from; by its Maven coordinates when left out, as in the README.
    """
    small = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    small["spark.databricks.delta.snapshotPartitions"] = "1"
    return run(
        SUBMIT,
        *("--master", "local[2]", *(delta or ("--packages", delta_coordinates()))),
        *(part for name, value in small.items() for part in ("--conf", f"{name}={value}")),
        *("--driver-java-options", JAVA_OPTIONS),
        ROOT / "jobs" / script,
        *arguments,
    )


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "docs.jsonl").write_text(
        "".join(
            json.dumps({"id": f"d{n}", "text": f"{DOCUMENT} It is number {n} of its kind."}) + "\n"
            for n in range(3)
        )
    )
    sources = "sources: [{name: test, paths: [docs.jsonl], format: json}]\n"
    (folder / "config.yml").write_text(CONFIG + sources)
    return folder / "config.yml"


def funnel(warehouse: Path) -> dict[str, dict[str, int]]:
    done = run(*(sys.executable, "-m", "webscale_rl.cli.main", "status", "--json", "--warehouse", warehouse))
    assert done.returncode == 0, done.stderr[-2000:]
    return {stage["stage"]: stage for stage in json.loads(done.stdout)["stages"]}


@pytest.fixture(scope="module")
def delta_jars(spark: SparkSession) -> tuple[str, str]:
    """The jars that this process' own session has found: resolving them takes seconds a job."""
    return ("--jars", spark.sparkContext.getConf().get("spark.jars", ""))


def test_every_stage_is_a_job_and_all_of_them_make_the_pipeline(
    configuration: Path, delta_jars: tuple[str, str], tmp_path: Path
) -> None:
    for stage in STAGE_NAMES:
        options = ("--config", configuration, "--warehouse", tmp_path / "stages")
        done = submit(f"{stage}.py", *options, delta=delta_jars)
        assert done.returncode == 0, f"{stage}: {done.stderr[-3000:]}"
    one_by_one = funnel(tmp_path / "stages")
    done = submit("pipeline.py", "--config", configuration, "--warehouse", tmp_path / "whole")
    assert done.returncode == 0, done.stderr[-3000:]
    at_once = funnel(tmp_path / "whole")
    counts = ("rows_in", "kept", "rejected", "pending")
    for stage in STAGE_NAMES:
        assert [one_by_one[stage][c] for c in counts] == [at_once[stage][c] for c in counts]
    assert at_once["ingest"]["kept"] == 3
    assert at_once["check"]["rows_in"] > 0
    assert at_once["decontaminate"]["pending"] == 0


def test_a_wrong_configuration_is_one_line_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("filtre: {}\n")
    done = submit("filter.py", "--config", tmp_path / "config.yml", "--warehouse", tmp_path / "w")
    assert done.returncode == 2
    # spark-submit merges what a script writes to standard error into its own standard output, so that its
    # log, which fills standard error, and the script's words do not mix.
    lines = [line for line in done.stdout.splitlines() if line.startswith("error:")]
    assert lines == ["error: configuration: unknown key 'filtre' (did you mean 'filter'?)"]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "w").exists()


def test_the_wheel_carries_what_the_command_needs(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    assert "webscale_rl/conf/pipeline.yml" in names
    assert "webscale_rl/conf/prompts/answer.yml" in names
    assert not [name for name in names if name.startswith(("tests/", "samples/"))]
    # Outside the clone, with only the wheel's content on the path.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "webscale_rl.cli.main", "init", str(tmp_path / "mine")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "config.yml").is_file()
