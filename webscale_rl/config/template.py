"""A commented configuration to start from: every setting with its default, composed from `conf/`."""

from __future__ import annotations

import shlex
from pathlib import Path

from webscale_rl.core.files import conf_folder
from webscale_rl.errors import UserError
from webscale_rl.stages.registry import STAGES

NAME = "config.yml"

_HEADER = """\
# A configuration of webscale-rl: every setting with its default. You can delete settings that you do not
# change. Name your documents under sources: below, then run
#   webscale-rl doctor --config {path}              is everything in place?
#   webscale-rl plan --config {path}                what a run would do and cost; changes nothing
#   webscale-rl run --config {path} --limit 20      20 documents; without --limit all
#   webscale-rl status --config {path}              the funnel
# Any setting can be overridden for one run: --set generate.sampling.temperature=0.2
#
# Paths of documents, prompts and benchmarks are looked up beside this file first, then in the working
# directory. A relative path of the warehouse is relative to the working directory.

"""

_EXAMPLE = """\
# For example, instead of the line above (each source needs a different name, which is part of the keys):
# sources:
#   - name: handbook
#     paths: [documents.jsonl]
#     format: json
#     columns: {text: text, id: id, url: url, title: title, licence: licence}
#     licence: CC-BY-4.0
"""


def write_configuration(folder: Path) -> list[Path]:
    """Write `config.yml` into a folder, making the folder where needed.

    Returns:
        The files written.

    Raises:
        UserError: a file of that name is there already, or the folder cannot be written.
    """
    path = folder.expanduser() / NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made anew or not at all: nothing of the user's is ever overwritten.
        with path.open("x", encoding="utf-8") as file:
            file.write(configuration_text(path))
    except FileExistsError as error:
        if path.parent.is_dir():
            said = f"{path} is there already: choose another folder, or remove it first"
            raise UserError(said) from error
        raise UserError(f"cannot write {path}: {path.parent} is not a folder") from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return [path]


def configuration_text(path: Path = Path(NAME)) -> str:
    """The whole default configuration as YAML, comments included.

    Args:
        path: where it will stand, for the commands in its header.
    """
    conf = conf_folder()
    pipeline = (conf / "pipeline.yml").read_text(encoding="utf-8").rstrip("\n")
    # The first paragraph says what that file is; this one says it itself.
    introduction, _, settings = pipeline.partition("\n\n")
    if any(line and not line.startswith("#") for line in introduction.split("\n")):
        settings = pipeline
    parts = [_HEADER.format(path=shlex.quote(str(path))), f"{settings}\n", _EXAMPLE]
    sections = [("engines", conf / "engines.yml")]
    sections += [(stage, conf / "stages" / f"{stage}.yml") for stage in STAGES.names]
    for name, file in sections:
        lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
        indented = "\n".join(f"  {line}" if line else "" for line in lines)
        parts.append(f"\n{name}:\n{indented}\n")
    return "".join(parts)
