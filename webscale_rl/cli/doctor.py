"""Checks that everything a run needs is in place; each line says what is wrong and what to do."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from webscale_rl.config.load import Config, load
from webscale_rl.errors import UserError, WebscaleRLError
from webscale_rl.stages.registry import STAGES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_VERSIONS = (17, 21)
# Lowest and highest pyspark, and the Delta release that fits them; as pyproject.toml has them.
PYSPARK_VERSIONS = ("4.1", "4.2.0")
DELTA_VERSION = "4.4.0"
# Spark's JVM; and two Python workers with the embedded model.
JVM_MEMORY_GB = 2.0
EMBEDDED_MEMORY_GB = 1.0
NEEDED_DISK_GB = 1.0

# What Spark's launcher writes before its JVM ends, and what to do then.
_LAUNCH_FAULTS = (
    (
        r"unresolved dependency|UnknownHostException|Server access error",
        "Delta's jars cannot be fetched",
        "let this machine reach Maven Central (spark.jars.ivySettings for a mirror), or put delta-spark's "
        "and delta-storage's jars into a folder and name it in spark.jars or WEBSCALE_RL_JARS",
    ),
    (
        r"Could not reserve|Cannot allocate memory|insufficient memory",
        "the Java process got no memory",
        "close other programs, or lower it: --set 'spark.conf={spark.driver.memory: 1g}'",
    ),
    (r"UnsupportedClassVersionError|class file version", "this Java is too old", "install Java 17"),
)


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        remedy: what to do; empty when good, or where the text says it.
    """

    name: str
    good: bool
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok ' if self.good else 'BAD'}  {self.name:<14} {self.text}"
        return " ".join((f"{line}: {self.remedy}" if self.remedy else line).splitlines())


def examine(config_path: Path | None, warehouse: str | None, overrides: Sequence[str]) -> list[Finding]:
    """Look at Java, packages, configuration, engines, prompts, memory, disk, permissions and Spark.

    A check that depends on a bad finding is not tried, and says so. Nothing is left behind: Delta is tried
    in a temporary folder, and the warehouse's folder is not created. A Spark session that it starts stays
    open.
    """
    findings = [_java(), _packages()]
    spark_can_start = all(finding.good for finding in findings)
    config = None
    try:
        found = load(config_path, overrides, {"warehouse": warehouse} if warehouse else None)
        _used_engines(found)  # A gate's section may be missing.
        config = found
        findings.append(Finding("configuration", True, str(config_path or "the defaults")))
    except UserError as error:
        findings.append(Finding("configuration", False, str(error), "fix it, or see webscale-rl init"))
    if config is None:
        findings.append(_not_tried("engine", "the configuration"))
    else:
        engines = _engines(config)
        findings += engines
        good = all(finding.good for finding in engines)
        findings.append(_prompts(config) if good else _not_tried("prompts", "the engine"))
        findings += _place(config.warehouse)
    # Before Spark takes its share.
    findings.append(_memory(config))
    if spark_can_start:
        findings += _spark(config)
    else:
        findings.append(_not_tried("Spark", "Java and the packages"))
    findings.append(_terminal())
    return findings


def _not_tried(name: str, what: str) -> Finding:
    return Finding(name, False, "not tried", f"fix {what} first")


# -- what is installed ----------------------------------------------------------------------------


def _java() -> Finding:
    if "SPARK_REMOTE" in os.environ:
        return Finding("Java", True, "not needed: Spark runs elsewhere (SPARK_REMOTE)")
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    remedy = f"install Java {JAVA_VERSIONS[0]} or {JAVA_VERSIONS[1]} and put it on PATH or into JAVA_HOME"
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "no java on PATH"
        return Finding("Java", False, f"not found ({where})", remedy)
    found = re.search(r'version "(\d+)([^"]*)"', done.stderr + done.stdout)
    if found is None:
        return Finding("Java", False, f"{program} does not tell its version", remedy)
    good = int(found[1]) in JAVA_VERSIONS
    return Finding("Java", good, f"{found[1]}{found[2]} ({program})", "" if good else remedy)


def _packages() -> Finding:
    platform = os.environ.get("DATABRICKS_RUNTIME_VERSION")
    remedy = f"pip install 'webscale-rl[{'cluster' if platform else 'spark'}]'"
    # A platform's own Spark and Delta are none of pip's.
    names = [] if platform else ["pyspark", "delta-spark"]
    found = {}
    for name in (*names, "pandas", "pyarrow", "py3langid", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return Finding("packages", False, f"{name} is not installed", remedy)
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    if platform:
        text += f", Spark and Delta of Databricks Runtime {platform}"
    if found["pandas"].startswith("3."):
        return Finding("packages", False, text, "Spark needs pandas below 3: pip install 'pandas<3'")
    low, high = (_numbers(bound) for bound in PYSPARK_VERSIONS)
    fits = platform or (low <= _numbers(found["pyspark"]) <= high and found["delta-spark"] == DELTA_VERSION)
    if not fits:
        wanted = f"'pyspark>={PYSPARK_VERSIONS[0]},<={PYSPARK_VERSIONS[1]}' delta-spark=={DELTA_VERSION}"
        return Finding("packages", False, text, f"these do not fit: pip install {wanted}")
    return Finding("packages", True, text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


# -- what the configuration names -----------------------------------------------------------------


def _engines(config: Config) -> list[Finding]:
    from webscale_rl.llm.engines import Engines

    engines = Engines(config.engines)
    findings = []
    for name, users in sorted(_used_engines(config).items()):
        uses = f"for {', '.join(users)}"
        try:
            engine = engines.get(name)
            found = engine.trial()
        except UserError as error:
            findings.append(Finding("engine", False, f"{uses}: {error}"))
            continue
        except Exception as error:  # noqa: BLE001 - an engine of the user's own may raise anything
            said = f"{name}, {uses}, raised {type(error).__name__}: {error}"
            findings.append(Finding("engine", False, said, "fix its identity()"))
            continue
        identity = engine.identity
        model = str(identity.get("name") or "") or str(identity.get("model") or "")[:12]
        text = f"{name} ({identity.get('engine')}, model {model}, {uses})" + (f", {found}" if found else "")
        path = Path(str(identity.get("path") or ""))
        if path.is_file():
            text += f", {path.stat().st_size / 1e6:.0f} MB in {path}"
        findings.append(Finding("engine", True, text))
    return findings


def _used_engines(config: Config) -> dict[str, list[str]]:
    """Engine name to the stages and gates that ask it."""
    found: dict[str, list[str]] = {}
    for stage in STAGES:
        for user, engine in stage.engines(config.sections).items():
            found.setdefault(engine, []).append(user)
    return found


def _prompts(config: Config) -> Finding:
    from webscale_rl.run.pipeline import Pipeline

    try:
        recipes = Pipeline(config=config).bodies(STAGES.names)
    except WebscaleRLError as error:
        return Finding("prompts", False, str(error))
    return Finding("prompts", True, f"{len(recipes)} recipes can be made from the files")


# -- this machine ---------------------------------------------------------------------------------


def _place(location: str) -> list[Finding]:
    from webscale_rl.storage.warehouse import Warehouse

    try:
        # Only its name is looked at, which needs no session.
        folder = Warehouse(None, location).local_folder  # type: ignore[arg-type]
    except UserError as error:
        return [Finding("warehouse", False, str(error))]
    if folder is None:
        return [Finding("warehouse", True, f"{location} (not tried: it is not on this machine)")]
    # The nearest folder that is there decides whether the rest can be made.
    there = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    findings = []
    try:
        with tempfile.TemporaryFile(dir=there):
            findings.append(Finding("warehouse", True, f"{folder} can be written"))
    except OSError as error:
        text = f"{folder}: {there} cannot be written ({error.strerror or error})"
        remedy = "choose another with --warehouse, or fix its permissions"
        findings.append(Finding("warehouse", False, text, remedy))
    # Spark spills into the temporary folder.
    disks = {os.stat(place).st_dev: place for place in (Path(tempfile.gettempdir()), there)}
    free = {place: shutil.disk_usage(place).free / 1e9 for place in disks.values()}
    good = min(free.values()) >= NEEDED_DISK_GB
    text = ", ".join(f"{size:.1f} GB free at {place}" for place, size in free.items())
    remedy = "" if good else f"free at least {NEEDED_DISK_GB:.0f} GB, or put the warehouse elsewhere"
    findings.append(Finding("disk", good, text, remedy))
    return findings


def _memory(config: Config | None) -> Finding:
    available = available_memory()
    if available is None:
        return Finding("memory", True, "unknown on this system")
    embedded = config is None or any(
        name in config.engines and config.engines[name].engine == "llamacpp" for name in _used_engines(config)
    )
    needed = JVM_MEMORY_GB + (EMBEDDED_MEMORY_GB if embedded else 0.0)
    good = available >= needed
    remedy = "" if good else f"close other programs: about {needed:.0f} GB are needed"
    return Finding("memory", good, f"{available:.1f} GB available", remedy)


def available_memory(root: Path = Path("/")) -> float | None:
    """Gigabytes that this process may still take: the machine's, or its container's if less.

    Args:
        root: where `proc` and `sys` are looked for.

    Returns:
        None where the system does not say.
    """
    try:
        text = (root / "proc/meminfo").read_text()
        available = int(re.findall(r"MemAvailable:\s+(\d+) kB", text)[0]) * 1024
    except (OSError, IndexError):
        return None
    # A container's limit, for either version of control groups; file caches count as free.
    for folder, limit, used, cache in (
        ("sys/fs/cgroup", "memory.max", "memory.current", r"^inactive_file (\d+)"),
        (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            r"^total_inactive_file (\d+)",
        ),
    ):
        with contextlib.suppress(OSError, ValueError):
            most = int((root / folder / limit).read_text())
            taken = int((root / folder / used).read_text())
            cached = re.findall(cache, (root / folder / "memory.stat").read_text(), re.MULTILINE)
            available = min(available, most - taken + sum(map(int, cached)))
    return available / 1e9


def _terminal() -> Finding:
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    if encoding.replace("-", "") != "utf8":
        hint = "other characters are printed as escapes; PYTHONUTF8=1 prints them"
        return Finding("terminal", True, f"writes {encoding}: {hint}")
    if not sys.stderr.isatty():
        return Finding("terminal", True, "none here: progress comes as plain lines")
    return Finding("terminal", True, "progress is shown live (--quiet for none)")


# -- Spark ----------------------------------------------------------------------------------------


def _spark(config: Config | None) -> list[Finding]:
    """Spark with Delta; then what needs it: an existing warehouse, and the documents."""
    from webscale_rl.spark.errors import LOST_JVM_ERRORS, SPARK_ERRORS, first_line
    from webscale_rl.spark.session import build_session, is_local

    faults: tuple[type[Exception], ...] = (*SPARK_ERRORS, *LOST_JVM_ERRORS, OSError, RuntimeError)
    settings = config.spark if config is not None else None
    with _captured_stderr() as written:
        try:
            session = (
                build_session(master=settings.master, conf=settings.conf, jars=settings.jars)
                if settings
                else build_session()
            )
            if is_local(session):
                with tempfile.TemporaryDirectory() as folder:
                    session.range(3).write.format("delta").save(f"{folder}/t")
                    session.read.format("delta").load(f"{folder}/t").collect()
                text = "Delta tables can be written and read"
            else:
                # A temporary folder of this machine is none of the cluster's.
                session.range(3).collect()
                text = "it runs jobs (Delta is not tried: Spark is not on this machine)"
        except UserError as error:
            return [Finding("Spark", False, str(error))]
        except faults as error:
            return [_spark_fault(first_line(error), written())]
    findings = [Finding("Spark", True, f"{session.version}, {text}")]
    return findings if config is None else findings + _with_spark(config, session)


def _spark_fault(error: str, written: str) -> Finding:
    for pattern, what, remedy in _LAUNCH_FAULTS:
        if re.search(pattern, written + error):
            return Finding("Spark", False, what, remedy)
    if "DATA_SOURCE_NOT_FOUND" in error:
        remedy = "start this session with Delta's jars (README, 'On a cluster')"
        return Finding("Spark", False, "this session has no Delta", remedy)
    telling = [line.strip() for line in written.splitlines() if re.search(r"Exception|[Ee]rror", line)]
    text = f"it does not work ({' / '.join([error, *telling[:1]])[:500]})"
    return Finding("Spark", False, text, "look at the settings under spark: in the configuration")


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Keep what Java writes to standard error; the function given says what it was."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as stack:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        # Java holds the same open file: reading must not move the place where it writes.
        yield lambda: os.pread(file.fileno(), 1 << 20, 0).decode("utf-8", "replace")


def _with_spark(config: Config, session: SparkSession) -> list[Finding]:
    from webscale_rl.run.pipeline import Pipeline
    from webscale_rl.spark.errors import SPARK_ERRORS, first_line
    from webscale_rl.stages.ingest import sources as ingest

    findings = []
    try:
        pipeline = Pipeline(config=config, spark=session)
        if pipeline.open().exists("lease"):
            held = pipeline.holder()
            findings.append(Finding("tables", True, f"held by {held}" if held else "free for a run"))
    except UserError as error:
        findings.append(Finding("tables", False, str(error)))
    except SPARK_ERRORS as error:
        findings.append(Finding("tables", False, first_line(error), "repair it, or choose another warehouse"))
    bad = []
    for source in config.sources:
        try:
            ingest.read_source(session, source)
        except UserError as error:
            bad.append(Finding("documents", False, str(error)))
    names = ", ".join(source.name for source in config.sources)
    said = f"{names} can be read" if names else "no source configured: name documents with run --input"
    return findings + (bad or [Finding("documents", True, said)])
