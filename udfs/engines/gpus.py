"""Which GPUs this Python worker's engine uses, and who has to leave them first.

Spark gives each task its GPUs, but an engine stays with the worker for later tasks, and Spark's pool of
workers knows nothing of GPUs: a later task may be given GPU 1 and find itself in the worker whose engine is
on GPU 0. That is as good, as long as each engine has GPUs of its own and each task finds a worker. So GPUs
belong to workers, by a file for each in a folder of the executor's, and a worker that has to build an engine
takes the GPUs of its task, or, where a busy worker has them, those that nobody uses. A worker that holds
GPUs and is idle (another model's engine, say) has to end first, which frees their memory; Spark replaces idle
workers that are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from udfs.engines.base import private_folder
from udfs.engines.errors import EngineDied

VISIBLE = "CUDA_VISIBLE_DEVICES"
# A worker whose task has ended lets go of its GPUs within moments; a busy one may need them for long.
WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0

# The GPUs that this process's engine was started on: fixed for its life, as CUDA is.
_held: tuple[str, ...] | None = None


def take(count: int) -> tuple[str, ...] | None:
    """Give this process GPUs of its own, before the first library looks for them.

    Args:
        count: GPUs that the engine needs; 0 for an engine that needs none.

    Returns:
        Their addresses; None where the engine needs none, or nothing is known of any.

    Raises:
        EngineDied: they stay in use by other tasks.
    """
    global _held
    if count < 1:
        return None
    if _held is None:
        candidates = _candidates(count)
        if not candidates:
            return None
        _held = _wait(_folder(), candidates)
        os.environ[VISIBLE] = ",".join(_held)
    return _held


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """Say that this worker has a task, so that nobody takes its GPUs meanwhile."""
    if _assigned() is None and _held is None:
        yield
        return
    folder = _folder()
    with _locked(folder):
        file = (folder / f"{os.getpid()}.busy").open("w")
        # Nobody else locks it while the folder is locked; this process may have it already.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        file.close()


def visible() -> tuple[str, ...]:
    """The GPUs of this machine that a process may use: those of CUDA_VISIBLE_DEVICES, else all."""
    named = os.environ.get(VISIBLE)
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip())
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],  # noqa: S607 - the driver's, wherever
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(told.split())


def _assigned() -> tuple[str, ...] | None:
    """The GPUs that Spark gave to this task; None where it gives none."""
    try:
        from pyspark import TaskContext
    except ImportError:
        return None
    context = TaskContext.get()
    found = context.resources().get("gpu") if context is not None else None
    return tuple(found.addresses) if found is not None else None


def _candidates(count: int) -> list[tuple[str, ...]]:
    """Sets of GPUs to try: the task's own; where Spark gives none, or the user says which, the machine's."""
    assigned = _assigned()
    if assigned is not None and VISIBLE not in os.environ:
        return [assigned]
    found = visible()
    return [found[at : at + count] for at in range(0, len(found) - count + 1, count)]


def _wait(folder: Path, candidates: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        with _locked(folder):
            taken = _take(folder, candidates)
        if taken is not None:
            return taken
        if time.monotonic() > until:
            wanted = " or ".join(",".join(one) for one in candidates)
            raise EngineDied(
                f"GPU {wanted} is in use by another task: let Spark give each task its own "
                "(spark.task.resource.gpu.amount), or set the engine's workers to the number of GPUs"
            )
        time.sleep(_POLL_SECONDS)


def _take(folder: Path, candidates: Sequence[tuple[str, ...]]) -> tuple[str, ...] | None:
    """The first set that no busy worker holds, its idle holders ended; None if there is none."""
    holders = _holders(folder)
    # What an ended worker held is free, too, though Spark gave it to a task that runs elsewhere.
    known = list(dict.fromkeys([*candidates, *(tuple(one["gpus"]) for one in holders.values())]))
    living = {pid: one for pid, one in holders.items() if _is_alive(pid, one["started"])}

    def sharers(wanted: tuple[str, ...]) -> list[int]:
        return [pid for pid, one in living.items() if set(one["gpus"]) & set(wanted)]

    # Those that nobody holds first: an idle worker's engine will be wanted again.
    for wanted in sorted(known, key=lambda one: bool(sharers(one))):
        if len(wanted) != len(candidates[0]):
            continue
        sharing = sharers(wanted)
        if any(_is_busy(folder, pid) for pid in sharing):
            continue
        for pid in sharing:
            _end(pid, living[pid]["started"])
        me = {"gpus": list(wanted), "started": _started(os.getpid())}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(me), encoding="utf-8")
        return wanted
    return None


def _holders(folder: Path) -> dict[int, Mapping[str, Any]]:
    found = {}
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            found[int(path.stem)] = json.loads(path.read_text(encoding="utf-8"))
    found.pop(os.getpid(), None)
    return found


def _is_busy(folder: Path, pid: int) -> bool:
    try:
        with (folder / f"{pid}.busy").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _end(pid: int, started: str) -> None:
    """End an idle worker and wait until it has gone, since only then its memory is free."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + _GRACE_SECONDS
        while time.monotonic() < until:
            if not _is_alive(pid, started):
                return
            time.sleep(0.05)


def _started(pid: int) -> str:
    """When a process started, to tell it from a later one of the same number; empty if it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _is_alive(pid: int, started: str) -> bool:
    return bool(started) and _started(pid) == started


def _folder() -> Path:
    """A folder of this executor's: its JVM is the parent of the daemon that forked this worker."""
    parent = os.getppid()
    try:
        stat = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8")
        java = int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        java = parent
    where = private_folder(EngineDied)
    folder = where / f"gpus-{java}-{_started(java)}"
    if not folder.exists():
        for old in where.glob("gpus-*-*"):
            number, started = old.name.split("-")[1:]
            if not _is_alive(int(number), started):
                shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
