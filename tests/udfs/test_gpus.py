"""GPUs that belong to Python workers: processes that stand for them, and addresses that stand for GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")

# Obeys a line each: "task GPUS" begins a task that was given these, "end" ends it; tells what it holds.
WORKER = """
import sys
from udfs.engines import gpus
from udfs.engines.errors import EngineDied
gpus.WAIT_SECONDS = 1.0
given, stack = None, []
gpus._assigned = lambda: given
for line in sys.stdin:
    word, *addresses = line.split()
    if word == "task":
        given = tuple(addresses)
        task = gpus.in_use()
        task.__enter__()
        stack.append(task)
        try:
            print(",".join(gpus.take(len(addresses))), flush=True)
        except EngineDied as error:
            print("died:", error, flush=True)
    else:
        stack.pop().__exit__(None, None, None)
        print("ended", flush=True)
"""

Worker = Callable[[str], str]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Callable[[], tuple[Worker, subprocess.Popen[str]]]]:
    """Makes workers of one executor: children of this process."""
    made: list[subprocess.Popen[str]] = []
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}

    def worker() -> tuple[Worker, subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        made.append(process)

        def tell(line: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        return tell, process

    yield worker
    for process in made:
        process.kill()
        process.wait()


def test_a_worker_takes_the_gpus_of_its_task_and_keeps_them(workers: Callable[[], tuple]) -> None:
    a, _ = workers()
    b, _ = workers()
    assert a("task 0") == "0"
    assert b("task 1") == "1"
    a("end")
    b("end")
    # Spark deals them out the other way round: each worker stays where its engine is.
    assert a("task 1") == "0"
    assert b("task 0") == "1"


def test_a_new_worker_takes_what_a_dead_one_left_not_what_a_busy_one_has(
    workers: Callable[[], tuple],
) -> None:
    a, first = workers()
    b, _ = workers()
    assert (a("task 0"), b("task 1")) == ("0", "1")
    a("end")
    b("end")
    # A is on GPU 0 with a task that was given 1, and dies; its successor is given 1, too, where B is busy.
    assert (a("task 1"), b("task 0")) == ("0", "1")
    first.kill()
    first.wait()
    c, _ = workers()
    assert c("task 1") == "0"


def test_what_a_dead_one_left_comes_before_what_an_idle_one_holds(workers: Callable[[], tuple]) -> None:
    a, first = workers()
    b, second = workers()
    assert (a("task 0"), b("task 1")) == ("0", "1")
    b("end")
    first.kill()
    first.wait()
    c, _ = workers()
    assert c("task 1") == "0"
    assert second.poll() is None
    assert b("task 1") == "1"


def test_an_idle_worker_has_to_go_and_a_busy_one_stays(workers: Callable[[], tuple]) -> None:
    a, idle = workers()
    assert a("task 0") == "0"
    a("end")
    b, busy = workers()
    assert b("task 0") == "0"
    assert idle.wait(timeout=5) != 0
    c, _ = workers()
    assert c("task 0").startswith("died: GPU 0 is in use by another task")
    assert busy.poll() is None


def test_several_gpus_are_taken_together(workers: Callable[[], tuple]) -> None:
    a, _ = workers()
    b, _ = workers()
    assert a("task 0 1") == "0,1"
    assert b("task 1 2").startswith("died")
    a("end")
    assert b("task 1 2") == "1,2"
