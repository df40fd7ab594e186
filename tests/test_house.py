"""A stage is named in its own folder only, and files that cannot be derived are held to the registry."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers import ROOT, STAGE_NAMES
from webscale_rl.core.files import conf_folder
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.registry import STAGES

MAX_LINES = 400
MODULES = sorted([*(ROOT / "webscale_rl").rglob("*.py"), *(ROOT / "udfs").rglob("*.py")])


def stage_of(path: Path) -> str:
    """The stage in whose folder a module lies."""
    parts = path.relative_to(ROOT).parts
    return parts[2] if parts[:2] == ("webscale_rl", "stages") and len(parts) > 3 else ""


def test_nothing_outside_its_folder_names_a_stage() -> None:
    found = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # A stage says which one it comes behind.
        behind = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["after"]
        }
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in STAGE_NAMES and node not in behind
            if node.value != stage_of(path)
        ]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_every_stage_has_its_files() -> None:
    assert {path.stem for path in (conf_folder() / "stages").glob("*.yml")} == set(STAGE_NAMES)
    assert {path.stem for path in (ROOT / "jobs").glob("*.py")} == {*STAGE_NAMES, "pipeline"}
    folders = {path.parent.name for path in (ROOT / "webscale_rl" / "stages").glob("*/stage.py")}
    assert folders == set(STAGE_NAMES)
    for stage in STAGES:
        assert stage.subject.key in stage.table.column_names, "verdicts are told apart by their subject"
        assert {"status", "reasons", "recipe", "run"} <= set(stage.table.column_names)


def test_every_gate_says_what_it_is_for() -> None:
    for gate in GATES:
        assert gate.summary.endswith("."), gate.name
        assert gate.reasons, gate.name
