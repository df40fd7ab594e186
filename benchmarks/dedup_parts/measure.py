"""Running a system as a process of its own: seconds, memory of its whole process tree, shuffle bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNNERS = Path(__file__).parent / "systems"
_INTERVAL = 0.25


@dataclass
class Memory:
    """Peaks of proportional set sizes in bytes, sampled four times a second.

    Attributes:
        total: of all processes together.
        python: of the Python processes together (Spark's workers and the driver among them).
        worker: of the largest Python worker (a Python process that is not the first one).
        java: of the Java processes together.
    """

    total: int = 0
    python: int = 0
    worker: int = 0
    java: int = 0


@dataclass
class Outcome:
    """One run of one system.

    Attributes:
        seconds: the work, without the start of the process (and of its session).
        with_start: from the start of the process to the end of the work.
        shuffle: of Spark, by stage (see `shuffle_by_stage`).
        figures: whatever else the runner told.
        error: the end of what it printed, where it failed.
    """

    system: str
    version: str = ""
    seconds: float | None = None
    with_start: float | None = None
    warmed: bool = True
    memory: Memory = field(default_factory=Memory)
    shuffle: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    load: float = 0.0


def run(
    system: str,
    runner: str,
    python: str,
    corpus: Path,
    work: Path,
    warm: Path | None = None,
    options: dict[str, Any] | None = None,
    timeout: float = 3600,
    environment: dict[str, str] | None = None,
    watch_memory: bool = True,
) -> Outcome:
    """Run a runner over a corpus; its result is ``work/result.parquet``.

    Args:
        python: the interpreter of the system's environment.
        warm: a small corpus that is worked on first, within the same process, and not timed.
        watch_memory: whether to sample memory, which stops a large process for a moment each time.
    """
    work.mkdir(parents=True, exist_ok=True)
    report, result, log = work / "report.json", work / "result.parquet", work / "log.txt"
    report.unlink(missing_ok=True)
    command = [python, str(RUNNERS / runner), "--input", str(corpus), "--output", str(result)]
    command += ["--work", str(work), "--report", str(report), "--options", json.dumps(options or {})]
    if warm is not None:
        command += ["--warm", str(warm)]
    outcome = Outcome(system, warmed=warm is not None, load=os.getloadavg()[0])
    started = time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=work,
            start_new_session=True,
            env={
                # A process that starts reads compiled modules, as it does for a user.
                **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                "PYTHONNOUSERSITE": "1",
                **(environment or {}),
            },
        )
        sampler = _Sampler(process.pid, watch_memory)
        try:
            code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            sampler.stop()
            _end(process)
    if code != 0 or not report.exists():
        reason = f"more than {timeout:.0f} s" if code is None else f"exit {code}"
        outcome.error = f"{reason}: {_last_lines(log)}"
        return outcome
    told = json.loads(report.read_text())
    outcome.version = told["version"]
    outcome.figures = told.get("figures", {})
    outcome.seconds = told["done"] - told["ready"]
    # Where a small corpus went first, its time is in here too: then it is no start to report.
    outcome.with_start = None if warm is not None else told["done"] - started
    outcome.memory = sampler.peaks
    for path in (work / "events").glob("*"):
        if path.is_file():
            outcome.shuffle += shuffle_by_stage(path, told["ready"], told["done"])
            path.unlink()
    return outcome


def shuffle_by_stage(events: Path, since: float, until: float) -> list[dict[str, Any]]:
    """Of every stage between two times that an event log tells of: what it read, shuffled and took."""
    stages: dict[int, dict[str, Any]] = defaultdict(
        lambda: defaultdict(int, tasks=0, records=0, bytes=0, largest_read=0, largest_records=0)
    )
    names: dict[int, tuple[str, float]] = {}
    steps: dict[int, str] = {}
    with events.open() as lines:
        for line in lines:
            if '"SparkListenerJobStart"' in line[:60]:
                job = json.loads(line)
                step = (job.get("Properties") or {}).get("spark.job.description") or ""
                steps |= dict.fromkeys(job["Stage IDs"], step)
            elif '"SparkListenerStageCompleted"' in line[:60]:
                info = json.loads(line)["Stage Info"]
                names[info["Stage ID"]] = (info["Stage Name"], info.get("Submission Time", 0) / 1000)
            elif '"SparkListenerTaskEnd"' in line[:60]:
                event = json.loads(line)
                metrics = event.get("Task Metrics") or {}
                stage = stages[event["Stage ID"]]
                written, read = (
                    metrics.get("Shuffle Write Metrics", {}),
                    metrics.get("Shuffle Read Metrics", {}),
                )
                got = read.get("Remote Bytes Read", 0) + read.get("Local Bytes Read", 0)
                stage["tasks"] += 1
                stage["bytes"] += written.get("Shuffle Bytes Written", 0)
                stage["records"] += written.get("Shuffle Records Written", 0)
                stage["read"] += got
                stage["spilled"] += metrics.get("Disk Bytes Spilled", 0)
                stage["milliseconds"] += metrics.get("Executor Run Time", 0)
                stage["slowest"] = max(stage["slowest"], metrics.get("Executor Run Time", 0))
                stage["largest_read"] = max(stage["largest_read"], got)
                stage["largest_records"] = max(stage["largest_records"], read.get("Total Records Read", 0))
    found = []
    for number, stage in sorted(stages.items()):
        name, submitted = names.get(number, ("", 0.0))
        if since - 0.5 <= submitted <= until:
            found.append({"stage": number, "step": steps.get(number, ""), "name": name, **stage})
    return found


class _Sampler:
    """Adds up, four times a second, the memory of every process of a session."""

    def __init__(self, leader: int, watch: bool) -> None:
        self.leader = leader
        self.peaks = Memory()
        self._stopped = threading.Event()
        if not watch:
            self._stopped.set()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more samples."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(_INTERVAL):
            total = python = java = 0
            for pid, name in session_processes(self.leader):
                size = _proportional(pid)
                total += size
                if name == "java":
                    java += size
                else:
                    python += size
                    if pid != self.leader:
                        self.peaks.worker = max(self.peaks.worker, size)
            self.peaks.total = max(self.peaks.total, total)
            self.peaks.python = max(self.peaks.python, python)
            self.peaks.java = max(self.peaks.java, java)


def session_processes(leader: int) -> list[tuple[int, str]]:
    """(pid, name) of the processes of a session, orphans included."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_text()
        except OSError:
            continue
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        if int(stat[stat.rindex(")") + 2 :].split()[3]) == leader:
            found.append((int(entry.name), name))
    return found


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _end(process: subprocess.Popen) -> None:
    """End the process and whatever it started that is still there."""
    for pid, _ in session_processes(process.pid):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
    process.wait()


def _last_lines(log: Path, count: int = 6) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-count:])[-900:]


def note(message: str) -> None:
    """A line of progress."""
    print(message, file=sys.stderr, flush=True)
