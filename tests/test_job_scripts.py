"""The scripts in jobs/ in this process: which stages each runs, and what it takes."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers import ROOT, STAGE_NAMES
from webscale_rl.cli import main as cli
from webscale_rl.cli.options import chosen_stages


def script(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> tuple[int | None, list[str]]:
    """Run a script; the code that it exits with, and the stages that it would have run.

    The code is None where it just ends: Databricks runs a script within a process of its own, which an exit
    with 0 would end as well.
    """
    ran: list[str] = []

    def run(options: argparse.Namespace, stages: Sequence[str] | None) -> int:
        ran.extend(stages or chosen_stages(options))
        return cli.EXIT_DONE

    monkeypatch.setattr(cli, "run_command", run)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    code: Any = None
    try:
        runpy.run_path(str(ROOT / "jobs" / f"{name}.py"), run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    return code, ran


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stage_s_script_runs_that_stage_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    assert script(monkeypatch, stage, "--warehouse", "wh", "--limit", "3") == (None, [stage])
    assert script(monkeypatch, stage, "--until", stage) == (2, [])
    assert "unrecognized arguments: --until" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        ([], list(STAGE_NAMES)),
        (["--from", "check"], ["check", "decontaminate"]),
        (["--until", "filter"], ["ingest", "filter"]),
        (["--from", "filter", "--until", "segment"], ["filter", "deduplicate", "segment"]),
        (["--stage", "filter", "--stage", "screen"], ["filter", "screen"]),
    ],
)
def test_the_pipeline_s_script_takes_a_part_of_the_chain(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], stages: list[str]
) -> None:
    assert script(monkeypatch, "pipeline", *arguments) == (None, stages)


def test_a_part_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "pipeline", "--from", "segment", "--until", "filter") == (2, [])
    assert capsys.readouterr().err == "error: no stage is left by --stage, --from and --until\n"
    assert script(monkeypatch, "pipeline", "--until", "filtre") == (2, [])
    assert capsys.readouterr().err.startswith(
        "error: no stage 'filtre' (did you mean 'filter'?): known are ingest"
    )
