"""Whether everything that a run needs is there; each line says what is wrong and what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from webscale_rl.config import Config, load
from webscale_rl.errors import UserError, WebscaleRLError
from webscale_rl.sparkerrors import SPARK_ERRORS, first_line

JAVA_VERSIONS = (17, 21)
# Spark's JVM, and two Python workers with the embedded model.
NEEDED_MEMORY_GB = 3.0
NEEDED_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        remedy: what to do; empty when good.
    """

    name: str
    good: bool
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{'ok ' if self.good else 'BAD'}  {self.name:<14} {self.text}"
        return f"{line}: {self.remedy}" if self.remedy else line


def examine(config_path: Path | None, warehouse: str | None, overrides: Sequence[str]) -> list[Finding]:
    """Look at Java, packages, configuration, engines, prompts, memory, disk, permissions and Spark.

    Leaves no traces: Delta is tried in a temporary folder, and a warehouse's folder is not made.
    """
    findings = [_java(), _packages()]
    try:
        config = load(config_path, overrides, {"warehouse": warehouse} if warehouse else None)
        findings.append(Finding("configuration", True, str(config_path or "the defaults")))
    except UserError as error:
        findings.append(Finding("configuration", False, str(error), "mend it, or see webscale-rl init"))
        config = None
    if config is not None:
        findings += _engines(config)
        findings.append(_prompts(config))
        findings += _place(config.warehouse)
    findings.append(_memory())
    if findings[0].good and findings[1].good:
        findings.append(_spark(config))
    else:
        findings.append(Finding("Spark", False, "not tried", "mend Java and the packages first"))
    return findings


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    remedy = f"install Java {JAVA_VERSIONS[0]} and put it on PATH or into JAVA_HOME"
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return Finding("Java", False, f"not found ({program})", remedy)
    found = re.search(r'version "(\d+)([^"]*)"', done.stderr + done.stdout)
    if found is None:
        return Finding("Java", False, f"{program} does not say its version", remedy)
    text = f"{found[1]}{found[2]}"
    return Finding(
        "Java", int(found[1]) in JAVA_VERSIONS, text, "" if int(found[1]) in JAVA_VERSIONS else remedy
    )


def _packages() -> Finding:
    found = {}
    for name in ("pyspark", "delta-spark", "pandas", "pyarrow", "py3langid"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            return Finding("packages", False, f"{name} is not installed", "pip install webscale-rl")
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    if found["pandas"].startswith("3."):
        return Finding("packages", False, text, "Spark needs pandas below 3: pip install 'pandas<3'")
    return Finding("packages", True, text)


def _engines(config: Config) -> list[Finding]:
    from webscale_rl.llm.engines import Engines

    engines = Engines(config)
    findings = []
    for name, users in sorted(_used_engines(config).items()):
        try:
            identity = engines.get(name).identity
        except UserError as error:
            findings.append(Finding("engine", False, f"for {', '.join(users)}: {error}"))
            continue
        model = str(identity.get("model") or "")[:12]
        text = f"{name} ({identity.get('engine')}, model {model}, for {', '.join(users)})"
        path = Path(str(identity.get("path") or ""))
        if path.is_file():
            text += f", {path.stat().st_size / 1e6:.0f} MB in {path}"
        findings.append(Finding("engine", True, text))
    return findings


def _used_engines(config: Config) -> dict[str, list[str]]:
    """Engine name to the stages and gates that ask it."""
    users = {stage: getattr(config, stage).engine for stage in ("screen", "identify", "generate")}
    for gate in ("round_trip", "judge"):
        if gate in config.check.gates:
            users[f"check.{gate}"] = getattr(config.check, gate).engine
    found: dict[str, list[str]] = {}
    for user, engine in users.items():
        found.setdefault(engine, []).append(user)
    return found


def _prompts(config: Config) -> Finding:
    from webscale_rl.flow import STAGES
    from webscale_rl.pipeline import Pipeline

    try:
        recipes = Pipeline(config=config).bodies(STAGES)
    except WebscaleRLError as error:
        return Finding("prompts", False, str(error))
    return Finding("prompts", True, f"{len(recipes)} recipes can be made from the files")


def _place(warehouse: str) -> list[Finding]:
    if "://" in warehouse or warehouse.startswith(("schema:", "dbfs:")):
        return [Finding("warehouse", True, f"{warehouse} (not tried: it is not on this machine)")]
    folder = Path(warehouse).expanduser().absolute()
    # The nearest folder that is there decides whether the rest can be made.
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    findings = []
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK) and not _is_read_only(there):
        findings.append(Finding("warehouse", True, f"{folder} can be written"))
    else:
        remedy = "choose another with --warehouse, or mend its permissions"
        findings.append(Finding("warehouse", False, f"{there} cannot be written", remedy))
    free = shutil.disk_usage(there).free / 1e9
    good = free >= NEEDED_DISK_GB
    remedy = "" if good else f"free at least {NEEDED_DISK_GB:.0f} GB, or put the warehouse elsewhere"
    findings.append(Finding("disk", good, f"{free:.1f} GB free at {there}", remedy))
    return findings


def _is_read_only(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError:
        return True


def _memory() -> Finding:
    try:
        text = Path("/proc/meminfo").read_text()
        available = int(re.findall(r"MemAvailable:\s+(\d+) kB", text)[0]) / 1e6
    except (OSError, IndexError):
        return Finding("memory", True, "unknown on this system")
    good = available >= NEEDED_MEMORY_GB
    remedy = "" if good else f"close something: about {NEEDED_MEMORY_GB:.0f} GB are needed"
    return Finding("memory", good, f"{available:.1f} GB available", remedy)


def _spark(config: Config | None) -> Finding:
    from webscale_rl.session import build_session

    remedy = (
        "see that Maven can be reached, or put Delta's two jars into a folder and name it in "
        "spark.jars or WEBSCALE_RL_JARS"
    )
    try:
        settings = config.spark if config is not None else None
        session = (
            build_session(master=settings.master, conf=settings.conf, jars=settings.jars)
            if settings
            else build_session()
        )
        with tempfile.TemporaryDirectory() as folder:
            session.range(3).write.format("delta").save(f"{folder}/t")
            rows = session.read.format("delta").load(f"{folder}/t").count()
    except UserError as error:
        return Finding("Spark", False, str(error))
    except SPARK_ERRORS as error:
        return Finding("Spark", False, f"Delta cannot be used ({first_line(error)})", remedy)
    return Finding("Spark", rows == 3, f"{session.version}, Delta tables can be written and read")
