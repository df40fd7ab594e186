"""databricks.yml is held to the stages, their scripts' options and pyproject.toml; nothing is deployed."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from databricks.bundles.jobs import Job

from tests.helpers import ROOT, STAGE_NAMES
from webscale_rl.cli import main as cli
from webscale_rl.config.load import load
from webscale_rl.spark import session
from webscale_rl.stages.registry import STAGES
from webscale_rl.storage.warehouse import Warehouse

BUNDLE = yaml.safe_load((ROOT / "databricks.yml").read_text(encoding="utf-8"))
VARIABLES: dict[str, Any] = BUNDLE["variables"]
JOB: dict[str, Any] = BUNDLE["resources"]["jobs"]["pipeline"]
TASKS: dict[str, dict[str, Any]] = {task["task_key"]: task for task in JOB["tasks"]}
CLUSTERS = {one["job_cluster_key"]: one["new_cluster"] for one in JOB["job_clusters"]}
# What Databricks Runtime brings in a version that fits.
BROUGHT = ("pandas", "pyarrow", "numpy")


def strings(node: Any) -> list[str]:
    """Every string in a part of the bundle."""
    if isinstance(node, Mapping):
        return [text for value in node.values() for text in strings(value)]
    if isinstance(node, list):
        return [text for value in node for text in strings(value)]
    return [node] if isinstance(node, str) else []


def resolved(text: str) -> str:
    """A text with the default values of parameters and variables in the place of their names."""
    parameters = {one["name"]: one["default"] for one in JOB["parameters"]}
    text = re.sub(r"\{\{job\.parameters\.(\w+)\}\}", lambda found: parameters[found[1]], text)
    return re.sub(r"\$\{var\.(\w+)\}", lambda found: str(VARIABLES[found[1]]["default"]), text)


def test_every_stage_is_one_task_after_the_one_before() -> None:
    assert [task["task_key"] for task in JOB["tasks"]] == list(STAGE_NAMES)
    for before, task in zip((None, *STAGE_NAMES), JOB["tasks"], strict=False):
        assert task.get("depends_on", []) == ([{"task_key": before}] if before else [])


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_task_runs_the_stage_s_script_with_arguments_that_it_takes(stage: str) -> None:
    task = TASKS[stage]["spark_python_task"]
    assert task["python_file"] == f"jobs/{stage}.py"
    assert (ROOT / task["python_file"]).is_file()
    options = cli.job_parser(stage).parse_args([resolved(text) for text in task["parameters"]])
    assert Warehouse(None, options.warehouse).is_schema  # type: ignore[arg-type]
    assert options.config.name == "config.yml"
    assert bool(options.input) == (stage == "ingest")


def test_model_stages_run_where_the_gpus_are_and_no_others_do() -> None:
    assert set(CLUSTERS) == {"cpu", "model"}
    sections = load().sections
    for stage in STAGE_NAMES:
        model = bool(STAGES.get(stage).engines(sections))
        assert TASKS[stage]["job_cluster_key"] == ("model" if model else "cpu"), stage
    assert "-gpu-" in resolved(CLUSTERS["model"]["spark_version"])
    assert "-gpu-" not in resolved(CLUSTERS["cpu"]["spark_version"])
    for cluster in CLUSTERS.values():
        assert cluster["data_security_mode"] == "SINGLE_USER", "dedicated access"
        assert cluster["spark_conf"]["spark.speculation"] == "false"


def test_tasks_install_the_wheel_and_what_the_runtime_lacks() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    lacking = [one for one in extras["cluster"] if re.split(r"[<>=]", one)[0] not in BROUGHT]
    wanted = {"cpu": lacking, "model": lacking + extras["vllm"]}
    for stage, task in TASKS.items():
        packages = [one["pypi"]["package"] for one in task["libraries"] if "pypi" in one]
        assert sorted(packages) == sorted(wanted[task["job_cluster_key"]]), stage
        assert {"whl": "dist/*.whl"} in task["libraries"]
    assert "--wheel-dir dist" in BUNDLE["artifacts"]["wheel"]["build"]
    # Spark and Delta are the platform's.
    assert not [text for text in strings(BUNDLE) if re.match("pyspark|delta-spark", text)]


def test_names_that_are_referred_to_are_declared_and_used() -> None:
    texts = strings(BUNDLE)
    variables = {name for text in texts for name in re.findall(r"\$\{var\.(\w+)\}", text)}
    assert variables == set(VARIABLES)
    parameters = {name for text in texts for name in re.findall(r"\{\{job\.parameters\.(\w+)\}\}", text)}
    assert parameters == {one["name"] for one in JOB["parameters"]}
    assert {"catalog", "schema", "input", "config"} <= parameters
    for target in BUNDLE["targets"].values():
        assert set(target.get("variables", {})) <= set(VARIABLES)


def test_nothing_starts_by_itself_and_one_run_at_a_time() -> None:
    assert {name: target["mode"] for name, target in BUNDLE["targets"].items()} == {
        "dev": "development",
        "prod": "production",
    }
    assert list(BUNDLE["resources"]) == ["jobs"]
    for job in BUNDLE["resources"]["jobs"].values():
        assert job["schedule"]["pause_status"] == "PAUSED"
        assert job["max_concurrent_runs"] == 1
        assert not {"trigger", "continuous"} & set(job)
    assert not [target for target in BUNDLE["targets"].values() if "resources" in target]


def test_databricks_own_model_of_a_job_takes_it() -> None:
    for job in BUNDLE["resources"]["jobs"].values():
        Job.from_dict(job)
    # It is strict, so that it says something.
    with pytest.raises(Exception, match="max_concurent_runs"):
        Job.from_dict(JOB | {"max_concurent_runs": 1})


class Builder:
    """Stands for Spark's builder of sessions, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def appName(self, name: str) -> Builder:
        return self

    def master(self, name: str) -> Builder:
        return self.config("spark.master", name)

    def config(self, key: str, value: str) -> Builder:
        self.told[key] = value
        return self

    def getOrCreate(self) -> None:
        return None


def test_on_databricks_the_session_stays_as_the_platform_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spark:
        builder = Builder()

        @staticmethod
        def getActiveSession() -> None:
            return None

    monkeypatch.setattr(session, "SparkSession", Spark)
    monkeypatch.setattr(session, "cancel_jobs_on_interrupt", lambda spark: None)
    monkeypatch.setattr(os, "environ", {"DATABRICKS_RUNTIME_VERSION": "18.2"})
    session.build_session(conf={"spark.sql.shuffle.partitions": "64"})
    assert Spark.builder.told == session.COMMON_CONF | {"spark.sql.shuffle.partitions": "64"}
