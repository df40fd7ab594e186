"""One way to say what a name may have been meant to be."""

from __future__ import annotations

from pathlib import Path

from webscale_rl.core.suggest import nearest

ROOT = Path(__file__).parents[2]


def test_the_nearest_name_is_named_or_nothing() -> None:
    assert nearest("contxt", ["parallel", "context"]) == " (did you mean 'context'?)"
    assert nearest("contxt", {"parallel": 1}) == ""
    assert nearest("5", [50, 51]) in (" (did you mean '50'?)", " (did you mean '51'?)")
    assert nearest("x", []) == ""


def test_nobody_else_looks_for_near_names() -> None:
    found = [
        str(path.relative_to(ROOT))
        for package in ("webscale_rl", "udfs")
        for path in (ROOT / package).rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("difflib", "extractOne"))
    ]
    assert found == ["webscale_rl/core/suggest.py"]
