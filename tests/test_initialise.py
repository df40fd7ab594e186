"""The configuration that init writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from webscale_rl.config import load
from webscale_rl.errors import UserError
from webscale_rl.initialise import write_configuration


def test_what_is_written_is_the_defaults_with_their_comments(tmp_path: Path) -> None:
    (path,) = write_configuration(tmp_path / "new" / "folder")
    assert load(path) == load()
    assert "  # Longest text of a document" in path.read_text(encoding="utf-8")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("mine: 1\n")
    with pytest.raises(UserError, match="is there already"):
        write_configuration(tmp_path)
    assert (tmp_path / "config.yml").read_text() == "mine: 1\n"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_configuration(tmp_path / "file" / "folder")
