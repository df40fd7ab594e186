"""Runs as real processes that are killed, paused and interrupted; nothing may be lost or paid twice.

One warehouse goes through it all: each run continues what the one before left, so that a session is
started once for every kill and not twice. What each run called and what was committed is noted in
between; the last run ends the work within the test's own session.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.fakes import called
from tests.helpers import (
    ROOT,
    SMALL_SESSION,
    STAGE_NAMES,
    STAGE_TABLE,
    TABLES,
    by_stage,
    collected,
    configuration,
    documents,
    prepared,
    write_lines,
)
from webscale_rl import Pipeline
from webscale_rl.config.load import load
from webscale_rl.errors import WarehouseBusyError

pytestmark = pytest.mark.process

COUNT = 20
PATIENCE = 240.0


class Process:
    """`webscale-rl run` as a process group of its own."""

    def __init__(self, folder: Path, *arguments: str, point: str = "") -> None:
        self.errors = folder / f"stderr-{time.monotonic_ns()}"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
        environment.pop("WEBSCALE_RL_FAULT_POINT", None)
        if point:
            environment["WEBSCALE_RL_FAULT_POINT"] = point
        command = [
            sys.executable,
            "-m",
            "webscale_rl",
            "run",
            "--config",
            str(folder / "config.yml"),
        ]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.errors.read_text(errors="replace")

    def wait_until(self, happened: Callable[[], bool], what: str, pause: float = 0.02) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, f"ended before {what}:\n{self.said()}"
            assert time.monotonic() < deadline, f"no {what} in {PATIENCE} s:\n{self.said()}"
            time.sleep(pause)

    def wait_for_point(self, point: str) -> None:
        self.wait_until(lambda: f"fault point {point}" in self.said(), point)

    def signal(self, number: signal.Signals) -> None:
        """A signal to driver and JVM; Spark's Python daemon has a group of its own and ends with them."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process.wait(30) == -signal.SIGKILL

    def java(self) -> int:
        return next(pid for pid in children(self.process.pid) if "java" in command_line(pid))

    def workers(self) -> list[int]:
        """The Python workers. One that is in the middle of a call may outlive its driver."""
        return workers_below(self.java())


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The children of a process, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def workers_below(java: int) -> list[int]:
    """The Python workers of a session, given its JVM."""
    daemons = [pid for pid in children(java) if "pyspark.daemon" in command_line(pid)]
    return [worker for daemon in daemons for worker in children(daemon)]


def python_workers() -> list[int]:
    """The Python workers of the session in this process."""
    java = [pid for pid in children(os.getpid()) if "java" in command_line(pid)]
    return [worker for pid in java for worker in workers_below(pid)]


def wait_for_end(pids: list[int]) -> None:
    """Wait until none of the processes runs any more."""
    deadline = time.monotonic() + PATIENCE
    while any("pyspark" in command_line(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still running: {pids}"
        time.sleep(0.05)


def whole_files(table: Path) -> set[Path]:
    """The Parquet files of a table's folder that are written to their end."""
    found = set()
    for path in table.rglob("*.parquet"):
        if "_delta_log" in path.parts:
            continue
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() > 8:
                file.seek(-4, os.SEEK_END)
                if file.read() == b"PAR1":
                    found.add(path)
    return found


@dataclass
class Story:
    """The warehouse, what each run called, and what else was seen."""

    spark: SparkSession
    folder: Path
    calls: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def pipeline(self, warehouse: str = "wh", log: str = "log", **options: Any) -> Pipeline:
        config = load(self.folder / "config.yml")
        fake = config.engines["fake"]
        changed = fake.model_copy(
            update={"options": fake.options | {"log": str(self.folder / log)} | options}
        )
        config = config.model_copy(update={"engines": config.engines | {"fake": changed}})
        return Pipeline(config=config, warehouse=str(self.folder / warehouse), spark=self.spark)

    def note(self, name: str) -> None:
        """Remember what was called since the last note."""
        before = sum(len(found) for found in self.calls.values())
        self.calls[name] = called(self.log)[before:]

    def rows(self, table: str) -> list[dict[str, Any]]:
        return collected(self.pipeline().open().read(table))

    def state(self) -> dict[str, int]:
        return {name: len(self.rows(name)) for name in (*STAGE_TABLE.values(), "completions", "attempts")}

    def start(self, *arguments: str, point: str = "", sleep: float = 0.0) -> Process:
        more = ("--set", f"engines.fake.options.sleep={sleep}")
        return Process(self.folder, *arguments, *more, point=point)


@pytest.fixture(scope="module")
def story(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("kills")
    write_lines(folder / "in.jsonl", documents(COUNT))
    values = configuration(folder / "log", replies=prepared(COUNT))
    # Four requests or so a chunk.
    values["engines"]["fake"]["chunk_tokens"] = 8_000
    values["sources"] = [{"name": "test", "paths": ["in.jsonl"], "format": "json"}]
    values["warehouse"] = str(folder / "wh")
    values["spark"] = {"master": "local[2,2]", "conf": SMALL_SESSION}
    (folder / "config.yml").write_text(json.dumps(values), encoding="utf-8")
    told = Story(spark, folder)
    processes: list[Process] = []
    try:
        tell(told, processes)
        yield told
    finally:
        for process in processes:
            if process.process.poll() is None:
                process.signal(signal.SIGKILL)
                process.process.wait(30)


def tell(story: Story, processes: list[Process]) -> None:
    """The whole story, run by run."""

    def start(*arguments: str, point: str = "", sleep: float = 0.0) -> Process:
        processes.append(story.start(*arguments, point=point, sleep=sleep))
        return processes[-1]

    # After the pending requests were written: nothing called yet.
    run = start("--until", "screen", point="requests_written")
    run.wait_for_point("requests_written")
    run.kill()
    story.note("requests_written")

    # After the completions' append and before the stage's.
    run = start("--stage", "screen", point="completions_written")
    run.wait_for_point("completions_written")
    run.kill()
    story.note("completions_written")
    story.seen["after completions_written"] = story.state()

    # The JVM alone, after a chunk's rows were written: the driver says so and ends.
    release = story.folder / "go on"
    run = start("--stage", "screen", point=f"rows_written={release}")
    run.wait_for_point("rows_written")
    os.kill(run.java(), signal.SIGKILL)
    release.touch()
    story.seen["code without JVM"] = run.process.wait(PATIENCE)
    story.seen["words without JVM"] = run.said()
    story.note("rows_written")
    story.seen["after rows_written"] = story.state()

    # Inside a Delta commit: a data file of the completions is whole, the log does not have it. The
    # process is stopped to look, and killed only if that is so.
    completions = story.folder / "wh" / "completions"

    def commits() -> set[Path]:
        return set((completions / "_delta_log").glob("*.json"))

    files = whole_files(completions)
    run = start("--stage", "screen", sleep=0.2)
    # The run's claim is a commit of its own, without a data file: what counts is the newest file.
    run.wait_until(lambda: bool(whole_files(completions) - files), "a data file", pause=0.0)
    run.signal(signal.SIGSTOP)
    logged = "".join(path.read_text() for path in commits())
    new = whole_files(completions) - files
    story.seen["in a commit"] = [path.name for path in new if path.name not in logged]
    workers = run.workers()
    run.kill()
    wait_for_end(workers)
    story.note("commit")

    # While a chunk runs.
    before = len(called(story.log))
    run = start("--stage", "screen", sleep=1.0)
    run.wait_until(lambda: len(called(story.log)) > before, "a call")
    workers = run.workers()
    run.kill()
    wait_for_end(workers)
    story.note("chunk")

    # Ctrl-C while a chunk runs: the terminal signals the whole group.
    before = len(called(story.log))
    run = start("--stage", "screen", sleep=1.0)
    run.wait_until(lambda: len(called(story.log)) > before, "a call")
    workers = run.workers()
    run.signal(signal.SIGINT)
    story.seen["code of Ctrl-C"] = run.process.wait(PATIENCE)
    story.seen["words of Ctrl-C"] = run.said()
    wait_for_end(workers)
    story.note("interrupted")
    story.seen["holder after Ctrl-C"] = story.pipeline().holder()
    story.seen["runs after Ctrl-C"] = story.rows("runs")

    # Paused while another run takes over and ends the work; a Python worker of that one is killed.
    release = story.folder / "wake up"
    run = start("--stage", "screen", point=f"completions_written={release}")
    run.wait_for_point("completions_written")
    run.signal(signal.SIGSTOP)
    story.note("paused")
    with pytest.raises(WarehouseBusyError) as refused:
        story.pipeline().run()
    story.seen["refused"] = (str(refused.value), run.process.pid)
    killed: list[int] = []
    done = threading.Event()

    def kill_a_worker() -> None:
        known = len(called(story.log))
        while not done.is_set() and not killed:
            if len(called(story.log)) > known + 4:
                for worker in python_workers():
                    os.kill(worker, signal.SIGKILL)
                    killed.append(worker)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    try:
        story.seen["result"] = story.pipeline(sleep=0.05).run(take_over=True)
    finally:
        done.set()
        killer.join()
    story.seen["workers killed"] = killed
    story.note("to the end")
    story.seen["state before waking"] = story.state()
    release.touch()
    run.signal(signal.SIGCONT)
    story.seen["code of the overtaken"] = run.process.wait(PATIENCE)
    story.seen["words of the overtaken"] = run.said()
    story.note("overtaken")
    story.seen["state after waking"] = story.state()


def test_nothing_is_lost_and_nothing_is_there_twice(story: Story) -> None:
    for table in (*STAGE_TABLE.values(), "gate_verdicts", "completions", "qa_pairs"):
        rows = story.rows(table)
        keys = Counter(tuple(row[name] for name in TABLES[table].key) for row in rows)
        assert [key for key, n in keys.items() if n > 1] == [], table
    funnel = by_stage(story.pipeline().status())
    for stage, each in zip(STAGE_NAMES, [1, 1, 1, 1, 1, 1, 2, 2, 2], strict=True):
        status = funnel[stage]
        assert (status.rows_in, status.kept, status.pending) == (each * COUNT, each * COUNT, 0), stage
    answers = {(row["question"], row["answer"]) for row in story.rows("qa_pairs")}
    assert len(answers) == story.seen["result"].pairs == 2 * COUNT
    assert ("Which village is the nearest one to Mount Number7?", "Hollow7 End") in answers


def test_the_outcome_is_that_of_an_undisturbed_run(story: Story) -> None:
    calm = story.pipeline("calm", "calm.log")
    calm.run(stages=STAGE_NAMES[: STAGE_NAMES.index("screen") + 1])
    for table in ("documents", "filtered", "deduplicated", "passages", "screened"):
        mine, other = (
            {tuple((k, str(v)) for k, v in row.items() if k not in ("run", "ingest_commit")) for row in rows}
            for rows in (story.rows(table), collected(calm.open().read(table)))
        )
        assert mine == other, table


def test_only_chunks_in_flight_are_called_again(story: Story) -> None:
    calls = story.calls
    assert calls["requests_written"] == calls["overtaken"] == []
    total = Counter(request for found in calls.values() for request in found)
    assert len(total) == COUNT * (1 + 2 + 4)
    # What was committed before a kill is never called again ...
    for name in ("completions_written", "rows_written", "paused"):
        assert 0 < len(calls[name]) < COUNT
        later = list(calls)[list(calls).index(name) :]
        since = Counter(request for step in later for request in calls[step])
        assert all(since[request] == 1 for request in calls[name]), name
    # ... and what was in flight is one chunk a kill.
    lost = set(calls["commit"]) | set(calls["chunk"]) | set(calls["interrupted"])
    again = {request for request, n in total.items() if n > 1}
    end = Counter(calls["to the end"])
    assert again <= lost | {request for request, n in end.items() if n > 1}
    for name in ("commit", "chunk", "interrupted"):
        assert 0 < len(calls[name]) <= 8, name
    # The killed Python worker cost its task's part of one chunk.
    assert sum(n - 1 for n in end.values()) <= 8


def test_the_points_were_what_they_say(story: Story) -> None:
    early = story.seen["after completions_written"]
    assert early["completions"] == len(story.calls["completions_written"])
    assert early["screened"] == 0
    later = story.seen["after rows_written"]
    assert (
        later["screened"] == later["completions"] == early["completions"] + len(story.calls["rows_written"])
    )
    assert story.seen["in a commit"], "the data file was in the log already"
    assert story.seen["workers killed"]


def test_a_lost_jvm_is_one_line(story: Story) -> None:
    assert story.seen["code without JVM"] == 1
    # PySpark's own threads complain before it; what we say is the last word.
    last = story.seen["words without JVM"].strip().splitlines()[-1]
    assert last.startswith("failed: Spark's Java process has gone")


def test_ctrl_c_ends_cleanly(story: Story) -> None:
    assert story.seen["code of Ctrl-C"] == 130
    assert "interrupted: what was finished is kept" in story.seen["words of Ctrl-C"]
    assert "Traceback" not in story.seen["words of Ctrl-C"]
    assert story.seen["holder after Ctrl-C"] is None, "the warehouse is given back"
    runs = sorted(story.seen["runs after Ctrl-C"], key=lambda row: row["run"])
    assert [row["outcome"] for row in runs] == [*["running"] * 5, "interrupted"]


def test_a_second_run_is_told_who_holds_the_warehouse(story: Story) -> None:
    message, pid = story.seen["refused"]
    assert f"process {pid} on " in message
    assert "--take-over" in message


def test_an_overtaken_writer_writes_nothing_and_says_so(story: Story) -> None:
    assert story.seen["code of the overtaken"] == 1
    words = story.seen["words of the overtaken"]
    assert "failed: the warehouse was taken by run" in words
    assert "writes nothing more" in words
    assert "Traceback" not in words
    assert story.seen["state after waking"] == story.seen["state before waking"]
