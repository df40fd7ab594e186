"""One tree of errors, which can be imported anywhere."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def is_exception(name: str) -> bool:
    found = getattr(builtins, name, None)
    return isinstance(found, type) and issubclass(found, BaseException)


def test_every_error_of_the_packages_is_in_the_tree() -> None:
    roots = {
        f"{path.relative_to(ROOT)}:{node.name}"
        for package in ("webscale_rl", "udfs")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        # An underscore marks a signal within its module.
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if any(isinstance(base, ast.Name) and is_exception(base.id) for base in node.bases)
    }
    # What is missing cannot be imported: it is an ImportError as well.
    assert roots - {"webscale_rl/errors.py:MissingSparkError"} == {"webscale_rl/errors.py:WebscaleRLError"}


def test_the_errors_need_no_other_package() -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import webscale_rl.errors, udfs.engines.errors\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.strip() == "['udfs', 'webscale_rl']"
