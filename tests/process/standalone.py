"""A Spark master and worker of a test's own, and a Python for them without the project."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE = 60.0


def python_without_the_project(folder: Path) -> Path:
    """An interpreter whose environment has everything that this one's has, but for the project.

    An editable installation is one line in a .pth file, an ordinary one two packages: neither is linked.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    (there,) = folder.glob("lib/python*/site-packages")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and entry.name != "udfs" and "webscale_rl" not in entry.name:
            (there / entry.name).symlink_to(entry)
    return python


@contextmanager
def standalone(folder: Path, environment: Mapping[str, str], cores: int = 2) -> Iterator[str]:
    """A master and one worker; their logs, and the executors' folders, lie in ``folder``.

    Args:
        environment: of both processes, and so of the executors.

    Yields:
        The master's URL. Both processes are killed afterwards, and with this one however it ends.
    """
    here = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    with ExitStack() as stack:
        log = _start(stack, folder, environment, "master", *here)
        url = _wait_for(log, r"Starting Spark master at (spark://\S+)")
        given = ("--cores", str(cores), "--memory", "2g", "--work-dir", str(folder / "work"))
        _start(stack, folder, environment, "worker", *here, *given, url)
        _wait_for(log, r"(Registering worker)")
        yield url


def _start(
    stack: ExitStack, folder: Path, environment: Mapping[str, str], name: str, *arguments: str
) -> Path:
    log = folder / f"{name}.log"
    spark_class = Path(sys.executable).parent / "spark-class"
    command = [str(spark_class), f"org.apache.spark.deploy.{name}.{name.title()}", *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=_die_with_the_parent,
        )
    stack.callback(_kill, process)
    return log


def _die_with_the_parent() -> None:
    if sys.platform == "linux":
        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Its whole group: a worker's executors are children of its own.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_for(log: Path, pattern: str) -> str:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = re.search(pattern, log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise TimeoutError(f"nothing like {pattern!r} in {log}: {log.read_text()[-2000:]}")
