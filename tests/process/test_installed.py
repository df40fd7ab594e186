"""The wheel and the sdist in environments of their own, outside the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.process.standalone import python_without_the_project

pytestmark = pytest.mark.process

# What uv says where the registry cannot be reached.
NO_NETWORK = ("error sending request", "failed to fetch", "dns error", "operation timed out")
LIGHT = """
import importlib.util, pkgutil
import webscale_rl, webscale_rl.answers, webscale_rl.text.clean
from webscale_rl.answers.registry import agree

for module in pkgutil.walk_packages(webscale_rl.answers.__path__, "webscale_rl.answers."):
    importlib.import_module(module.name)
heavy = ["pyspark", "delta", "pandas", "pyarrow", "numpy", "numba", "py3langid"]
print([name for name in heavy if importlib.util.find_spec(name)], agree("1,200", "1200", "number").agrees)
try:
    webscale_rl.Pipeline
except webscale_rl.errors.UserError as error:
    print(error)
"""


def run(*command: str | Path, cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    """A command that sees nothing of the clone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=300, env=environment, cwd=cwd
    )


@pytest.fixture(scope="module")
def base(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel and no extra."""
    folder = tmp_path_factory.mktemp("base")
    uv = (sys.executable, "-m", "uv")
    made = run(*uv, "venv", "--python", sys.executable, folder / "venv")
    assert made.returncode == 0, made.stderr
    python = folder / "venv" / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    done = run(*uv, "pip", "install", "--python", python, wheel)
    if done.returncode != 0 and any(sign in done.stderr.lower() for sign in NO_NETWORK):
        pytest.skip(f"the base dependencies cannot be installed without a network: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return python.parent


def test_the_base_installation_is_light_and_names_the_extra(base: Path) -> None:
    done = run(base / "python", "-c", LIGHT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[] True",
        "the pipeline needs Spark, which is not installed: pip install 'webscale-rl[spark]'",
    ]


def test_the_command_of_the_base_installation_is_one_line(base: Path) -> None:
    for command in ([base / "webscale-rl", "doctor"], [base / "python", "-m", "webscale_rl", "status"]):
        done = run(*command)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: the pipeline needs Spark")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_the_wheel_says_that_it_is_typed(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"webscale_rl/py.typed", "udfs/py.typed"} <= set(names)


@pytest.fixture(scope="module")
def unpacked(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.iterdir()
    return found


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="what belongs to the clone is known to git alone")
def test_the_sdist_is_the_clone(unpacked: Path) -> None:
    git = shutil.which("git")
    assert git
    listed = run(git, "ls-files", "-z", cwd=ROOT)
    assert listed.returncode == 0, listed.stderr
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    assert sorted(tracked - {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}) == []


def test_the_sdist_holds_all_that_its_tests_need(unpacked: Path, tmp_path: Path) -> None:
    # What is imported is the sdist's or nothing: this environment may have the clone.
    python = python_without_the_project(tmp_path / "python")
    tests = (python, "-m", "pytest", "-p", "no:cacheprovider")
    collected = run(*tests, "--collect-only", cwd=unpacked)
    assert collected.returncode == 0, collected.stdout[-3000:]
    done = run(*tests, "tests/test_docs.py", cwd=unpacked)
    assert done.returncode == 0, done.stdout[-3000:]
