"""The package's own files are found wherever it is imported from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers import ROOT
from webscale_rl.config.load import load

# Everything that reads from conf/: settings, prompts, domains, demonstrations, and init's template.
SCRIPT = """
import webscale_rl
from webscale_rl.config.load import load
from webscale_rl.config.template import configuration_text
from webscale_rl.core.files import conf_folder, find_file
from webscale_rl.llm.prompts import load_prompt

pipeline = webscale_rl.Pipeline()
assert len(pipeline.parts.domains) == 10 and len(pipeline.parts.demonstrations) == 10
assert load_prompt(find_file("answer", "prompts", ".yml")).user
assert configuration_text().count("\\n") > 100
assert conf_folder() == conf_folder()
print(webscale_rl.__file__)
print(conf_folder())
print(load().model_dump_json())
"""


def zipped(archive: Path, conf: str) -> Path:
    """The package as a zip archive, with the folder `conf/` under some name."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for package in ("webscale_rl", "udfs"):
            for path in (ROOT / package).rglob("*.py"):
                file.write(path, path.relative_to(ROOT))
        for path in (ROOT / "conf").rglob("*.yml"):
            file.write(path, Path(conf, path.relative_to(ROOT / "conf")))
    return archive


def run(path: Path, folder: Path) -> list[str]:
    """The lines that the script prints with the package from some place."""
    environment = os.environ | {"PYTHONPATH": str(path), "TMPDIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout.splitlines()


# As in the wheel, and as in an archive that somebody makes of a clone.
@pytest.mark.parametrize("conf", ["webscale_rl/conf", "conf"])
def test_a_zip_archive_has_its_configuration(tmp_path: Path, conf: str) -> None:
    archive = zipped(tmp_path / "package.zip", conf)
    (tmp_path / "tmp").mkdir()
    module, folder, settings = run(archive, tmp_path / "tmp")
    assert module.startswith(str(archive))
    assert json.loads(settings) == load().model_dump(mode="json")
    # The copy lay among the temporary files, and has gone with the process.
    assert Path(folder).is_relative_to(tmp_path / "tmp")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_folder_is_read_in_place(tmp_path: Path) -> None:
    module, folder, settings = run(ROOT, tmp_path)
    assert Path(module).is_relative_to(ROOT)
    assert folder == str(ROOT / "conf")
    assert json.loads(settings) == load().model_dump(mode="json")
    assert list(tmp_path.iterdir()) == []


def test_the_product_finds_no_file_by_the_place_of_a_module() -> None:
    # In a zip archive there is no file at that place.
    found = [
        str(path.relative_to(ROOT))
        for package in ("webscale_rl", "udfs")
        for path in (ROOT / package).rglob("*.py")
        if "__file__" in path.read_text(encoding="utf-8")
    ]
    assert found == []
