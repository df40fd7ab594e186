"""The project's own files agree with each other."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import webscale_rl
from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_one_everywhere() -> None:
    assert PROJECT["project"]["version"] == webscale_rl.__version__
    named = re.findall(r"webscale_rl-([\w.]+?)-py3", read("README.md") + read("docs/operations.md"))
    assert named
    assert set(named) == {webscale_rl.__version__}


def test_hooks_run_what_the_environment_has_and_fetch_nothing() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    entries = {hook["id"]: hook["entry"].split()[0] for hook in repository["hooks"]}
    assert set(entries) == {"ruff-check", "ruff-format", "mypy", "lint-imports"}
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    for program in entries.values():
        assert (Path(sys.executable).parent / program).exists(), f"{program} is in the extra dev"


def test_the_changelog_has_a_section_for_what_is_to_come() -> None:
    sections = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert sections[0] == "[Unreleased]"
    kinds = set(re.findall(r"^### (.*)$", read("CHANGELOG.md"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_test_that_hangs_is_ended(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.hasplugin("timeout")
    assert float(request.config.getini("timeout")) == PROJECT["tool"]["pytest"]["ini_options"]["timeout"] > 0


def test_every_extra_that_is_named_is_there() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    texts = [read("README.md"), read("Makefile"), read("docs/operations.md")]
    texts += [
        path.read_text(encoding="utf-8")
        for package in ("webscale_rl", "udfs", "conf", "tests/vllm_cpu")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yml")
    ]
    named = re.findall(r"(?:webscale-rl|['\"]\.)\[([\w,]+)\]", "\n".join(texts))
    assert {extra for names in named for extra in names.split(",")} == extras
