"""Everything that can be added, named as plugins of one configuration: killed in the middle, and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.extending import test_answer_type, test_engine, test_exporter, test_gate, test_stage
from tests.fakes import called
from tests.helpers import ROOT, SAMPLING, about, configuration, documents, prepared, write_lines
from tests.process.test_kills import Process

pytestmark = pytest.mark.process

PLUGINS = [module.__name__ for module in (test_answer_type, test_exporter, test_gate, test_stage)]


def test_what_was_added_is_resumed_after_a_kill(tmp_path: Path) -> None:
    extra = {n: f"The slopes of Mount Number{n} are grey. " for n in range(3)}
    write_lines(tmp_path / "in.jsonl", documents(3, extra))
    (tmp_path / "opinion.yml").write_text(test_gate.PROMPT, encoding="utf-8")
    replies = prepared(3)
    replies[about(0) + "Reader: geology student"] = json.dumps(
        {
            "question": "What colour are the slopes of Mount Number0?",
            "answer": "grey",
            "answer_type": "colour",
            "quotation": "The slopes of Mount Number0 are grey.",
        }
    )
    settings = configuration(tmp_path / "log", replies=replies, sleep=0.3)
    settings["engines"]["parrot"] = {
        "engine": test_engine.NAME,
        "options": {"died": str(tmp_path / "died")},
    }
    settings["check"] = {
        "gates": ["answer_type", "ending", "second_opinion"],
        "second_opinion": {"engine": "parrot", "prompt": "opinion.yml", "sampling": SAMPLING},
    }
    settings |= {
        "plugins": PLUGINS,
        "banned": {"words": ["Number1"]},
        "sources": [{"name": "test", "paths": ["in.jsonl"], "format": "json"}],
        "warehouse": str(tmp_path / "wh"),
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    run = Process(tmp_path)
    run.wait_until(lambda: len(called(tmp_path / "log")) >= 5, "a question")
    run.kill()
    paid = set(called(tmp_path / "log"))

    again = Process(tmp_path)
    assert again.process.wait(240) == 0, again.said()
    calls = called(tmp_path / "log")
    assert set(calls) >= paid
    assert len(set(calls)) == 3 + 4, "screen asks about three passages, generate about two personas of two"

    command = [sys.executable, "-m", "webscale_rl", "export", "--config", str(tmp_path / "config.yml")]
    done = subprocess.run(
        [*command, "--to", "cards", "--out", str(tmp_path / "cards")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    cards = [
        json.loads(line)
        for path in (tmp_path / "cards").glob("part-*.json")
        for line in path.read_text().splitlines()
    ]
    assert len(cards) == 4
    assert {"front": "What colour are the slopes of Mount Number0?", "back": "grey"} in cards
