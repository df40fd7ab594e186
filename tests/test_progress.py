"""What is told of progress is logged, too."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.helpers import documents, make_pipeline
from webscale_rl.runtime.progress import LoggedProgress, Progress, TextProgress

LOG = "webscale_rl.runtime.progress"


class Told(Progress):
    """Of a user's own: notes alone."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_everything_is_logged_and_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webscale_rl")
    stream = io.StringIO()
    progress = LoggedProgress(TextProgress(stream))
    progress.begin("screen", 5)
    progress.advance(3, 2, 70)
    progress.advance(1, 0, 30)
    progress.note("100% is no format")
    progress.warn("one request kills the engine")
    progress.end()
    begun, noted, warned, ended = caplog.record_tuples
    assert begun == (LOG, logging.INFO, "screen: 5 rows to do")
    assert noted == (LOG, logging.INFO, "100% is no format")
    assert warned == (LOG, logging.WARNING, "one request kills the engine")
    assert ended[2].startswith("screen: 4 of 5 rows done, 2 kept, 100 tokens, ")
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("screen         0/5 rows")
    assert lines[2].startswith("screen         4/5 rows  kept 2")
    assert lines[3:5] == ["100% is no format", "one request kills the engine"]


def test_a_warning_is_a_note_where_nothing_else_is_done_about_it() -> None:
    told = Told()
    LoggedProgress(told).warn("careful")
    assert told.notes == ["careful"]


def test_a_run_logs_its_stages(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "webscale_rl")
    make_pipeline(spark, tmp_path, documents(2)).run(stages=("ingest", "filter"))
    said = [record[2] for record in caplog.record_tuples if record[0] == LOG]
    assert "filter: 2 rows to do" in said
    assert [line.partition(",")[0] for line in said if "done" in line] == [
        "ingest: 2 of 2 rows done",
        "filter: 2 of 2 rows done",
    ]


def test_nothing_is_printed_by_itself() -> None:
    code = "import webscale_rl.runtime.progress as p; p.LoggedProgress(p.Progress()).warn('unheard')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
