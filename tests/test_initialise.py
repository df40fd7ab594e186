"""The configuration that init writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from webscale_rl.config.load import load
from webscale_rl.config.template import write_configuration
from webscale_rl.errors import UserError


def test_what_is_written_is_the_defaults_with_their_comments(tmp_path: Path) -> None:
    (path,) = write_configuration(tmp_path / "a new" / "folder")
    assert load(path) == load()
    text = path.read_text(encoding="utf-8")
    assert "  # Longest text of a document" in text
    assert f"webscale-rl run --config '{path}'" in text
    # What a file of the package says of itself is not repeated here.
    assert "run `webscale-rl init" not in text


def test_the_example_of_a_source_works_once_its_marks_are_gone(tmp_path: Path) -> None:
    (path,) = write_configuration(tmp_path)
    (tmp_path / "documents.jsonl").write_text("{}\n")
    text = path.read_text(encoding="utf-8")
    example = re.search(r"^# sources:\n(?:#  .*\n)+", text, re.MULTILINE)
    assert example is not None
    live = re.sub(r"^# ", "", example[0], flags=re.MULTILINE)
    path.write_text(text.replace("sources: []\n", "").replace(example[0], live), encoding="utf-8")
    (source,) = load(path).sources
    assert source.name == "handbook"
    assert source.paths == [str(tmp_path / "documents.jsonl")]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("mine: 1\n")
    with pytest.raises(UserError, match="is there already"):
        write_configuration(tmp_path)
    assert (tmp_path / "config.yml").read_text() == "mine: 1\n"


@pytest.mark.parametrize("below", [(), ("folder",)])
def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, below: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write") as error:
        write_configuration(tmp_path.joinpath("file", *below))
    assert "\n" not in str(error.value)
