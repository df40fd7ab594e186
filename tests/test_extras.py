"""What an installation without Spark says and does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import webscale_rl
from webscale_rl import extras
from webscale_rl.errors import MissingSparkError

# A name that stands for nothing in sys.modules cannot be imported.
WITHOUT_SPARK = "import sys; sys.modules['pyspark'] = None\n"
SAID = "the pipeline needs Spark, which is not installed: pip install 'webscale-rl[spark]'"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT_SPARK + code], capture_output=True, text=True)


def test_without_spark_the_package_imports_and_the_pipeline_names_the_extra() -> None:
    done = run(
        "import webscale_rl, webscale_rl.answers.registry, webscale_rl.text.clean\n"
        "try:\n"
        "    webscale_rl.Pipeline\n"
        "except webscale_rl.errors.UserError as error:\n"
        "    print(webscale_rl.__version__, error)\n"
        "try:\n"
        "    from webscale_rl import RunResult\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{webscale_rl.__version__} {SAID}", SAID]


@pytest.mark.parametrize("command", [["status"], ["run", "--limit", "3"], ["doctor"]])
def test_without_spark_the_command_says_so_in_one_line(command: list[str]) -> None:
    done = run(f"from webscale_rl.__main__ import main; sys.exit(main({command}))")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {SAID}\n"


@pytest.mark.parametrize(("found", "good"), [("3.5.6", False), ("4.0.0", True), ("4.2.0", True), ("", True)])
def test_a_spark_of_another_age_is_named_and_not_replaced(
    monkeypatch: pytest.MonkeyPatch, found: str, good: bool
) -> None:
    class Spark:
        __version__ = found

    monkeypatch.setattr(extras.importlib, "import_module", lambda name: Spark)
    if good:
        extras.require_spark()
        return
    with pytest.raises(MissingSparkError, match=r"that is installed is 3\.5\.6, Spark 4 is needed"):
        extras.require_spark()
