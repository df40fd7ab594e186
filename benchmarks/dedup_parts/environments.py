"""Which systems there are, and the environments that they run in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dedup_parts.measure import note

_HERE = Path(__file__).parent.parent


@dataclass(frozen=True)
class System:
    """One thing to measure.

    Attributes:
        environment: the requirements-dedup-NAME.txt that it needs; None for this package's own.
        verifies: whether it compares the sets themselves before it calls something a duplicate.
        by_default: whether it runs where no peers are named.
        shuffles: whether it runs on Spark, whose event log says what was shuffled.
    """

    name: str
    runner: str
    environment: str | None
    verifies: bool
    options: dict[str, Any] = field(default_factory=dict)
    by_default: bool = True
    shuffles: bool = False


OURS = System("webscale-rl", "ours.py", None, True, shuffles=True)
PEERS = {
    system.name: system
    for system in (
        System("datatrove", "datatrove_minhash.py", "datatrove", False, {"tokenizer": "spacy"}),
        System("datatrove-split", "datatrove_minhash.py", "datatrove", False, {"tokenizer": "split"}),
        System("text-dedup", "textdedup_minhash.py", "text-dedup", True, {"verify": True}),
        System(
            "text-dedup-unverified", "textdedup_minhash.py", "text-dedup", False, {"verify": False}, False
        ),
        System("daft", "daft_minhash.py", "daft", False),
        System("mllib", "mllib.py", None, True, shuffles=True),
    )
}
_OLDEST_PYTHON = {"text-dedup": "3.12"}


def python_of(cache: Path, system: System) -> str | None:
    """The interpreter of a system's environment; None where it is not installed."""
    if system.environment is None:
        return sys.executable
    python = cache / "peers" / system.environment / "bin" / "python"
    return str(python) if python.exists() else None


def install(cache: Path, system: System) -> None:
    """Make a peer's environment, if it is not there.

    Raises:
        RuntimeError: it cannot be made; the message has the end of what the installer said.
    """
    if system.environment is None or python_of(cache, system):
        return
    requirements = _HERE / f"requirements-dedup-{system.environment}.txt"
    folder = cache / "peers" / system.environment
    wanted = _OLDEST_PYTHON.get(system.environment, "3.11")
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    note(f"installing {system.environment} into {folder}")
    if uv:
        steps = [
            [uv, "venv", "--quiet", "--no-python-downloads", "--python", f">={wanted}", str(folder)],
            [
                uv,
                "pip",
                "install",
                "--quiet",
                "--compile-bytecode",
                "--python",
                str(folder / "bin/python"),
                "-r",
                str(requirements),
            ],
        ]
    else:
        if sys.version_info < tuple(map(int, wanted.split("."))):
            raise RuntimeError(f"{system.environment} needs Python {wanted} or newer: install uv, or use one")
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "-r", str(requirements)],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise RuntimeError(f"{system.environment} cannot be installed: {done.stderr.strip()[-600:]}")
