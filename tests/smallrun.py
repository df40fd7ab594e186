"""One small run of the command line with the fake engine, which several test modules then only read.

A span is chosen by rules, the fake writes its question, answers it among choices, and judges it: so both
prompts with a schema and prompts with choices are among the requests.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.helpers import GOOD_SCREEN, GOOD_VERDICT, about, configuration, document, documents, write_lines
from webscale_rl.cli import main as cli

LOWER = "Its lower peak was first climbed in 1850. "
SHORT = "Only eight words stand in this short text."
NO_JSON = "no JSON at all"
SURVEY = "did surveyors measure Mount Number0?"
CLIMB = "was the lower peak of Mount Number0 climbed?"


@dataclass(frozen=True)
class SmallRun:
    """What the run was given, and what it said."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def options(self) -> list[str]:
        """The options that name its configuration and warehouse."""
        return ["--config", str(self.folder / "config.yml"), "--warehouse", str(self.folder / "wh")]


def small_run(folder: Path) -> SmallRun:
    """The run in a folder, made by whichever process comes first, in its active Spark session."""
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = folder / "said.json"
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what an attempt that failed has left
            folder.mkdir()
            said.write_text(json.dumps(_run(folder)), encoding="utf-8")
        return SmallRun(folder, *json.loads(said.read_text(encoding="utf-8")))


def _run(folder: Path) -> tuple[int, str, str]:
    """The run's exit code and what it printed.

    Two good documents (one of them again under another name), one that rules reject, and one whose screen
    reply is no JSON. Of the first document's two pairs the model confirms one answer and not the other.
    """
    rows = [
        *documents(2, {0: LOWER}),
        {"id": "copy", "text": document(0, LOWER)},
        {"id": "short", "text": SHORT, "url": "file:s"},
    ]
    write_lines(folder / "in.jsonl", rows)
    replies = {
        about(0) + "Judge the document": json.dumps(GOOD_SCREEN),
        about(1) + "Judge the document": NO_JSON,
        "Answer: 1900\nQuestion": f" {SURVEY}",
        "Answer: 1850\nQuestion": f" {CLIMB}",
        f"{SURVEY}\nAnswer:": " 1900",
        f"{CLIMB}\nAnswer:": " 1900",
        "Examine this pair": json.dumps(GOOD_VERDICT),
    }
    settings = configuration(folder / "log", replies=replies)
    settings["generate"] |= {"strategy": "answer_first", "prompt": "small_question", "context": "sentence"}
    settings["check"]["gates"] = ["lengths", "round_trip", "judge"]
    settings["check"]["round_trip"] |= {"method": "choices", "prompt": "small_answer", "min_margin": 0.0}
    settings["sources"] = [{"name": "test", "paths": ["in.jsonl"], "format": "json"}]
    (folder / "config.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    config = ["--config", str(folder / "config.yml"), "--warehouse", str(folder / "wh")]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(["run", *config, "--samples", "1"])
    return code, out.getvalue(), err.getvalue()
