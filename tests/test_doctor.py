"""What doctor says of a machine and a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from webscale_rl.doctor import Finding, examine


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_everything_is_looked_at_and_no_trace_is_left(spark: SparkSession, tmp_path: Path) -> None:
    found = by_name(examine(None, str(tmp_path / "not" / "there"), ()))
    names = {"Java", "packages", "configuration", "engine", "prompts", "warehouse", "disk", "memory", "Spark"}
    assert set(found) == names
    assert found["Spark"].good, found["Spark"].text
    assert found["engine"].good, found["engine"].text
    assert not (tmp_path / "not").exists()


def test_each_bad_line_says_what_to_do(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no-java"))
    missing = ["engines.embedded.options.model_path=/no/such/model.gguf"]
    (tmp_path / "file").write_text("")
    found = by_name(examine(None, str(tmp_path / "file" / "wh"), missing))
    bad = [name for name in found if not found[name].good]
    assert set(bad) == {"Java", "engine", "prompts", "warehouse", "Spark"}
    assert "install Java 17" in str(found["Java"])
    assert "/no/such/model.gguf" in str(found["engine"])
    assert "--warehouse" in str(found["warehouse"])
    assert "not tried" in str(found["Spark"])
    assert all("\n" not in str(finding) for finding in found.values())


def test_a_wrong_configuration_is_a_line_and_the_rest_goes_on(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("engine: {}\n")
    found = by_name(examine(tmp_path / "c.yml", None, ()))
    assert str(found["configuration"]).startswith("BAD  configuration")
    assert "did you mean 'engines'?" in found["configuration"].text
    assert found["Java"].good
