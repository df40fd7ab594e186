"""A commented configuration to start from: every setting with its default, composed from `conf/`."""

from __future__ import annotations

from pathlib import Path

from webscale_rl.config import STAGE_SECTIONS, conf_folder
from webscale_rl.errors import UserError

NAME = "config.yml"

_HEADER = """\
# A configuration of webscale-rl with every setting and its default. Delete what you do not change:
# what is left out keeps its default. Try it:
#   webscale-rl plan --config {name}       what a run would do, touching nothing
#   webscale-rl run --config {name} --limit 20
# A source of documents looks like this (put it under sources:, in place of the []):
#   - name: pages
#     paths: [pages.jsonl]
#     format: json
#     columns: {{text: text, id: id, url: url, title: title, licence: licence}}
#     licence: unknown

"""


def write_configuration(folder: Path) -> list[Path]:
    """Write `config.yml` into a folder, making the folder where needed.

    Returns:
        The files written.

    Raises:
        UserError: a file of that name is there already, or the folder cannot be written.
    """
    path = folder.expanduser() / NAME
    if path.exists():
        raise UserError(f"{path} is there already: choose another folder, or remove it first")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(configuration_text(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return [path]


def configuration_text() -> str:
    """The whole default configuration as YAML, comments included."""
    conf = conf_folder()
    parts = [_HEADER.format(name=NAME), (conf / "pipeline.yml").read_text(encoding="utf-8")]
    sections = [("engines", conf / "engines.yml")]
    sections += [(stage, conf / "stages" / f"{stage}.yml") for stage in STAGE_SECTIONS]
    for name, path in sections:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        indented = "\n".join(f"  {line}" if line else "" for line in lines)
        parts.append(f"\n{name}:\n{indented}\n")
    return "".join(parts)
