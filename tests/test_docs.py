"""What the documents say of the code stays true."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import STAGE_NAMES
from webscale_rl.report.datamodel import markdown

ROOT = Path(__file__).parent.parent


def test_the_data_model_is_the_tables() -> None:
    text = (ROOT / "docs" / "data-model.md").read_text(encoding="utf-8")
    assert text == markdown(), "run make docs"


def test_every_stage_has_a_job_and_a_configuration() -> None:
    for stage in STAGE_NAMES:
        assert (ROOT / "jobs" / f"{stage}.py").is_file()
        assert (ROOT / "conf" / "stages" / f"{stage}.yml").is_file()
