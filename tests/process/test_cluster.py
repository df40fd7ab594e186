"""The README's commands for a cluster, as they stand there, where workers have nothing of the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.helpers import ROOT, SMALL_SESSION, STAGE_NAMES
from tests.process.standalone import python_without_the_project, standalone
from webscale_rl.spark.session import JARS_ENV, jars_folder

pytestmark = pytest.mark.process

# What a cluster's own configuration would hold, for one of two cores.
DEFAULTS = SMALL_SESSION | {
    "spark.ui.enabled": "false",
    "spark.master.rest.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    # Kernels out of a zip archive are compiled by each Python worker for itself.
    "spark.sql.shuffle.partitions": "1",
}
TEXT = (
    "The lighthouse on cape number {n} was built by the engineer Ada Brennan, and its lamp stands {n} metres "
    "above the sea. The tower is made of granite, because an older one of wood had burnt down, and the house "
    "beside it is a museum in which visitors see how the keepers lived through the winters of the {n}th year."
)


def commands() -> list[list[str]]:
    """The spark-submit commands of the section, as lists of words."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## On a cluster\n(.*?)^##", readme, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^    (spark-submit (?:.*\\\n)*.*)$", section, re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in found]


def here(command: list[str], options: Mapping[str, str]) -> list[str]:
    """A command with the values of some options replaced by those of this machine."""
    words = list(command)
    for option, value in options.items():
        words[words.index(option) + 1] = value
    if os.environ.get(JARS_ENV):
        # Without a network: the jars in place of their coordinates, as the README says.
        at = words.index("--packages")
        words[at : at + 2] = ["--jars", ",".join(jars_folder())]
    return words


@pytest.fixture(scope="module")
def place(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: jobs/, dist/ and config.yml."""
    folder = tmp_path_factory.mktemp("cluster")
    shutil.copytree(ROOT / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(dist, folder / "dist")
    rows = [{"id": f"d{n}", "text": TEXT.format(n=n)} for n in (7, 8, 400)]
    rows += [{"id": "copy", "text": TEXT.format(n=7)}, {"id": "short", "text": "Too short."}]
    rows += [{"id": "near", "text": TEXT.format(n=7) + " It is open all year."}]
    (folder / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yml").write_text("sources: [{name: test, paths: [docs.jsonl], format: json}]\n")
    (folder / "conf").mkdir()
    lines = (f"{name} {value}\n" for name, value in DEFAULTS.items())
    (folder / "conf" / "spark-defaults.conf").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    """What driver, master, worker and executors are started with."""
    python = python_without_the_project(place / "python")
    own = ("PYTHONPATH", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in own}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": str(python),
        "SPARK_CONF_DIR": str(place / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


@pytest.fixture(scope="module")
def master(place: Path, environment: dict[str, str]) -> Iterator[str]:
    with standalone(place, environment) as url:
        yield url


def test_the_workers_have_the_dependencies_and_not_the_project(
    place: Path, environment: dict[str, str]
) -> None:
    looked = (
        "import importlib.util as u; print([n for n in ('webscale_rl.config', 'udfs', 'numba') if found(n)])"
    )
    found = "def found(name):\n    try: return u.find_spec(name)\n    except ImportError: return None\n"
    code = found + looked
    done = subprocess.run(
        [environment["PYSPARK_PYTHON"], "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=place,
    )
    assert done.stdout.strip() == "['numba']", done.stdout + done.stderr


def test_the_readme_s_commands_run_as_they_stand(
    place: Path, environment: dict[str, str], master: str
) -> None:
    assert commands()
    for command in commands():
        words = here(command, {"--master": master, "--warehouse": str(place / "wh")})
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment, cwd=place)
        assert done.returncode == 0, f"{words}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    # The funnel is printed last: rows in, kept, rejected, pending.
    found = {words[0]: words[1:5] for words in map(str.split, done.stdout.splitlines()) if len(words) > 4}
    assert {stage: " ".join(found[stage]) for stage in STAGE_NAMES[:4]} == {
        "ingest": "6 6 0 0",
        "filter": "6 5 1 0",
        "deduplicate": "5 3 2 0",
        "segment": "3 3 0 0",
    }
    # It was the worker's executor that did it.
    assert list((place / "work").glob("app-*/*/stderr"))
