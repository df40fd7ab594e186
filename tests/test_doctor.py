"""What doctor says of a machine and a configuration."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fakes import FakeEngine
from tests.helpers import configuration
from webscale_rl.cli import doctor
from webscale_rl.cli.doctor import Finding, available_memory, examine
from webscale_rl.config.load import load

FAKE = [f"{stage}.engine=fake" for stage in ("screen", "identify", "generate", "check.round_trip")]


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def fake_engine(**options: Any) -> list[str]:
    """Overrides that have the fake engine do everything."""
    fake = configuration("log", **options)["engines"]["fake"]
    return [f"engines.fake={fake}".replace("None", "null"), *FAKE]


def test_everything_is_looked_at_and_no_trace_is_left(spark: SparkSession, tmp_path: Path) -> None:
    found = by_name(examine(None, str(tmp_path / "not" / "there"), ()))
    assert set(found) == {
        *("Java", "packages", "configuration", "engine", "prompts", "warehouse", "disk", "memory"),
        *("Spark", "documents", "terminal"),
    }
    for name in ("Java", "packages", "Spark", "engine", "prompts", "warehouse"):
        assert found[name].good, str(found[name])
        assert str(found[name]).startswith(f"ok   {name}")
    assert "MB in " in found["engine"].text
    assert "for screen, identify, generate, check.round_trip" in found["engine"].text
    assert not (tmp_path / "not").exists()


def test_each_bad_line_says_what_to_do(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    monkeypatch.setattr(doctor, "available_memory", lambda: 0.5)
    missing = ["engines.embedded.options.model_path=/no/such/model.gguf"]
    (tmp_path / "file").write_text("")
    found = by_name(examine(None, str(tmp_path / "file" / "wh"), missing))
    bad = [name for name in found if not found[name].good]
    assert set(bad) == {"Java", "engine", "prompts", "warehouse", "memory", "Spark"}
    assert "no-java, which has no bin/java" in str(found["Java"])
    assert "install Java 17" in str(found["Java"])
    assert "/no/such/model.gguf" in str(found["engine"])
    assert "--warehouse" in str(found["warehouse"])
    assert "about 3 GB are needed" in str(found["memory"])
    assert "not tried: fix the engine first" in str(found["prompts"])
    assert "not tried: fix Java and the packages first" in str(found["Spark"])
    assert all(str(found[name]).startswith("BAD  ") for name in bad)
    assert all("\n" not in str(finding) for finding in found.values())


def test_a_wrong_configuration_is_a_line_and_the_rest_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("engine: {}\n")
    found = by_name(examine(tmp_path / "c.yml", None, ()))
    assert str(found["configuration"]).startswith("BAD  configuration")
    assert "did you mean 'engines'?" in found["configuration"].text
    assert "fix the configuration first" in str(found["engine"])
    assert found["Java"].good
    assert found["Spark"].good
    assert "prompts" not in found


def test_documents_prompts_and_engines_that_are_missing_are_named(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = f"sources=[{{name: books, paths: ['{tmp_path}/none.jsonl'], format: json}}]"
    options = [*fake_engine(), sources, "generate.prompt=no_such_prompt"]
    found = by_name(examine(None, str(tmp_path), options))
    assert "source books" in str(found["documents"])
    assert str(found["documents"]).startswith("BAD")
    assert "no such file: no_such_prompt" in str(found["prompts"])
    assert found["engine"].good
    found = by_name(doctor._engines(doctor.load(None, fake_engine(missing=True))))
    assert "the fake model is missing: leave out the option missing" in str(found["engine"])

    def broken(options: object) -> dict[str, Any]:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr(FakeEngine, "identity", broken)
    found = by_name(doctor._engines(doctor.load(None, fake_engine())))
    assert "raised ZeroDivisionError: of its own" in str(found["engine"])


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ({"pyspark": "4.1.3"}, "ok "),
        ({"pyspark": "4.3.0"}, "'pyspark>=4.1,<=4.2.0' delta-spark==4.4.0"),
        ({"pyspark": "3.5.6"}, "these do not fit"),
        ({"delta-spark": "4.0.0"}, "these do not fit"),
        ({"pandas": "3.0.1"}, "'pandas<3'"),
    ],
)
def test_packages_must_fit(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], said: str) -> None:
    usual = {"pyspark": "4.2.0", "delta-spark": "4.4.0", "pandas": "2.3.0"}
    monkeypatch.setattr(doctor, "version", lambda name: (usual | versions).get(name, "1"))
    assert said in str(doctor._packages())


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_of(missing: str) -> Callable[[str], str]:
        def version(name: str) -> str:
            if name == missing:
                raise PackageNotFoundError(name)
            return {"pyspark": "4.2.0", "delta-spark": "4.4.0"}.get(name, "1")

        return version

    for missing in ("delta-spark", "numba"):
        monkeypatch.setattr(doctor, "version", none_of(missing))
        said = str(doctor._packages())
        assert said.startswith("BAD")
        assert said.endswith(f"{missing} is not installed: pip install 'webscale-rl[spark]'")
    # Databricks brings Spark and Delta without pip's knowledge, in versions of its own.
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "18.2")
    assert str(doctor._packages()).endswith("numba is not installed: pip install 'webscale-rl[cluster]'")
    monkeypatch.setattr(doctor, "version", none_of("delta-spark"))
    assert "Spark and Delta of Databricks Runtime 18.2" in str(doctor._packages())
    assert doctor._packages().good


def test_the_versions_are_those_of_the_project() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = tomllib.loads(text)["project"]["optional-dependencies"]["spark"]
    low, high = doctor.PYSPARK_VERSIONS
    assert f"pyspark>={low},<={high}" in dependencies
    assert f"delta-spark=={doctor.DELTA_VERSION}" in dependencies


@pytest.mark.parametrize(
    ("said", "good"),
    [('openjdk version "17.0.15"', True), ('java version "21"', True), ('java version "1.8.0"', False)],
)
def test_java_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, good: bool) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert doctor._java().good is good


@pytest.mark.parametrize(
    ("location", "text", "good"),
    [
        ("main.rl", "not on this machine", True),
        ("s3a://bucket/rl", "not on this machine", True),
        ("schema:a.b.c", "is not a catalog schema", False),
    ],
)
def test_a_warehouse_elsewhere_is_not_tried(location: str, text: str, good: bool) -> None:
    (finding,) = doctor._place(location)
    assert text in finding.text
    assert finding.good is good


def test_memory_is_the_containers_where_it_has_less(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n")
    assert available_memory(tmp_path) == pytest.approx(8.192)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (
        ("memory.max", "4000000000"),
        ("memory.current", "3000000000"),
        ("memory.stat", "anon 5\ninactive_file 500000000\n"),
    ):
        (group / name).write_text(f"{text}\n")
    assert available_memory(tmp_path) == pytest.approx(1.5)
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == pytest.approx(8.192)


@pytest.mark.parametrize(
    ("error", "written", "text", "remedy"),
    [
        (
            "gateway exited",
            "x\n[unresolved dependency: io.delta#..]",
            "cannot be fetched",
            "WEBSCALE_RL_JARS",
        ),
        ("gateway exited", "Cannot allocate memory", "got no memory", "spark.driver.memory"),
        ("[DATA_SOURCE_NOT_FOUND] delta", "", "has no Delta", "README"),
        ("gateway exited", "a\nException: bad setting\nb", "gateway exited / Exception: bad", "spark:"),
    ],
)
def test_why_spark_fails_is_read_from_what_it_writes(
    error: str, written: str, text: str, remedy: str
) -> None:
    finding = doctor._spark_fault(error, written)
    assert text in finding.text
    assert remedy in finding.remedy


def test_standard_error_is_kept_and_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with doctor._captured_stderr() as written:
        os.write(2, b"from Java")
        assert written() == "from Java"
        os.write(2, b", more")
        assert written() == "from Java, more"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_every_step_that_asks_a_model_is_looked_at() -> None:
    gates = {"gates": ["lengths", "round_trip_support"]}
    config = load(
        values={"check": gates, "screen": {"engine": "other"}, "engines": {"other": {"engine": "vllm"}}}
    )
    assert doctor._used_engines(config) == {
        "other": ["screen"],
        "embedded": ["identify", "generate", "check.round_trip_support"],
    }
