"""Typed settings from YAML: the package's `conf/`, overlaid by the user's file and `--set` overrides.

Every value has its default in `conf/`, with a comment; an unknown key is an error with a suggestion.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from webscale_rl.errors import ConfigError
from webscale_rl.settings import Section
from webscale_rl.stages.check_steps import CheckSettings
from webscale_rl.stages.decontaminate import DecontaminateSettings
from webscale_rl.stages.deduplicate import DeduplicateSettings
from webscale_rl.stages.filter import FilterSettings
from webscale_rl.stages.generate import GenerateSettings
from webscale_rl.stages.identify import IdentifySettings
from webscale_rl.stages.ingest import IngestSettings, SourceSettings
from webscale_rl.stages.screen import ScreenSettings
from webscale_rl.stages.segment import SegmentSettings

STAGE_SECTIONS = (
    "ingest",
    "filter",
    "deduplicate",
    "segment",
    "screen",
    "identify",
    "generate",
    "check",
    "decontaminate",
)


class SparkSettings(Section):
    """How a session is started where none is active."""

    master: str | None = Field(description="Spark master; null leaves it to spark-submit")
    jars: str | None = Field(description="folder with Delta's jars, where there is no Maven")
    conf: dict[str, str] = Field(description="Spark settings, as spark-submit's --conf")


class Prices(Section):
    """What an engine's tokens cost, per million, in any one currency."""

    prompt: float = Field(ge=0, description="per million prompt tokens that were not cached")
    cached: float = Field(ge=0, description="per million cached prompt tokens")
    completion: float = Field(ge=0, description="per million completion tokens")


class EngineSettings(Section):
    """One engine that stages can name."""

    engine: str = Field(
        description="llamacpp, openai, vllm, or package.module:Class of an engine of your own"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="options of that engine, checked by it")
    workers: int | None = Field(
        default=None, ge=1, description="engines side by side; null: one a core, or one for its GPUs"
    )
    gpus: int | None = Field(
        default=None,
        ge=0,
        description="GPUs of one engine; null: what it asks for (vllm: one, or its parallel sizes)",
    )
    in_flight: int = Field(default=1, ge=1, le=8, description="chunks that engines work on at a time")
    tasks: int = Field(
        default=1,
        ge=1,
        le=64,
        description="tasks of a chunk for each engine: more of them share work out better between engines of "
        "unequal speed, fewer let a batch run dry less often",
    )
    chunk_tokens: int = Field(default=200_000, ge=1, description="estimated tokens of one chunk (one append)")
    prices: Prices | None = Field(default=None, description="prices, for plan and --max-cost")


class Config(Section):
    """The whole configuration."""

    warehouse: str
    domains: str = Field(description="file of the domains; a bare name is looked up in conf/")
    demonstrations: str = Field(description="folder of demonstrations, one file a domain")
    spark: SparkSettings
    sources: list[SourceSettings]
    engines: dict[str, EngineSettings]
    ingest: IngestSettings
    filter: FilterSettings
    deduplicate: DeduplicateSettings
    segment: SegmentSettings
    screen: ScreenSettings
    identify: IdentifySettings
    generate: GenerateSettings
    check: CheckSettings
    decontaminate: DecontaminateSettings
    kind: Literal["webscale-rl"] = "webscale-rl"

    def engine(self, name: str) -> EngineSettings:
        """The engine of that name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self.engines:
            raise ConfigError(f"no engine {name!r} in the configuration{_nearest(name, self.engines)}")
        return self.engines[name]


def conf_folder() -> Path:
    """The folder `conf/`: inside the installed package, or beside it in a clone."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def find_file(name: str, folder: str = "", suffix: str = "") -> Path:
    """A file named in the configuration: a path, or a name in `conf/`.

    Raises:
        ConfigError: there is no such file.
    """
    candidates = [
        Path(name).expanduser(),
        conf_folder() / folder / name,
        conf_folder() / folder / f"{name}{suffix}",
    ]
    for candidate in candidates:
        if candidate.exists() and (candidate.is_file() or not suffix):
            return candidate
    raise ConfigError(f"no such file: {name} (looked in {', '.join(map(str, candidates))})")


def load(
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration: defaults, then the user's file, then ``values``, then overrides.

    Args:
        path: the user's YAML file; None for the defaults alone.
        overrides: ``section.key=value`` each, the value read as YAML.
        values: a mapping of the file's shape (a notebook's way).

    Raises:
        ConfigError: a missing or unreadable file, an unknown key, a wrong type.
    """
    data = defaults()
    if path is not None:
        user = read_yaml(Path(path))
        _relative_paths(user, Path(path).absolute().parent)
        merge(data, user)
    if values is not None:
        merge(data, dict(values))
    for override in overrides:
        _override(data, override)
    return validate(data)


def defaults() -> dict[str, Any]:
    """The shipped configuration as plain data."""
    folder = conf_folder()
    data = read_yaml(folder / "pipeline.yml")
    data["engines"] = read_yaml(folder / "engines.yml")
    for stage in STAGE_SECTIONS:
        data[stage] = read_yaml(folder / "stages" / f"{stage}.yml")
    return data


def validate(data: dict[str, Any]) -> Config:
    """Plain data as typed settings.

    Raises:
        ConfigError: one line with every fault, and the nearest known key for an unknown one.
    """
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        faults = [_fault(Config, dict(fault)) for fault in error.errors()]
        raise ConfigError("configuration: " + "; ".join(faults)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: missing, unreadable, not YAML, or no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not a {type(data).__name__}")
    return data


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Overlay ``over`` on ``base``, key by key; lists and scalars are replaced whole."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def _override(data: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {override!r}: expected section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is no valid YAML") from error
    *sections, key = path.strip().split(".")
    at = data
    for depth, section in enumerate(sections):
        inner = at.get(section)
        if not isinstance(inner, dict):
            known = ".".join(sections[: depth + 1])
            raise ConfigError(f"--set {override!r}: no section {known!r}{_nearest(section, at)}")
        at = inner
    at[key] = value


def _relative_paths(user: dict[str, Any], folder: Path) -> None:
    """Paths in a user's file are relative to that file (conf/ names stay as they are)."""

    def anchored(name: Any) -> Any:
        if isinstance(name, str) and "://" not in name and (folder / name).exists():
            return str(folder / name)
        return name

    for key in ("domains", "demonstrations"):
        if key in user:
            user[key] = anchored(user[key])
    for section in user.values():
        if isinstance(section, dict) and "prompt" in section:
            section["prompt"] = anchored(section["prompt"])
    for source in user.get("sources") or []:
        if isinstance(source, dict) and isinstance(source.get("paths"), list):
            source["paths"] = [anchored(path) for path in source["paths"]]
    decontaminate = user.get("decontaminate")
    if isinstance(decontaminate, dict) and isinstance(decontaminate.get("benchmarks"), list):
        decontaminate["benchmarks"] = [anchored(path) for path in decontaminate["benchmarks"]]


def _fault(model: type[BaseModel], fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, fault["loc"][:-1])
        return f"unknown key {where!r}{_nearest(str(fault['loc'][-1]), known)}"
    if fault["type"] == "missing":
        return f"{where!r} is missing"
    return f"{where!r}: {fault['msg'][0].lower()}{fault['msg'][1:]} (found {fault['input']!r})"


def _fields_at(model: type[BaseModel], location: Sequence[Any]) -> list[str]:
    at: Any = model
    for part in location:
        if isinstance(at, type) and issubclass(at, BaseModel):
            if part not in at.model_fields:  # a name in a mapping of sections, such as an engine's
                continue
            annotation: Any = at.model_fields[part].annotation
        else:
            annotation = at
        at = next(iter(_models_in(annotation)), annotation)
    return list(at.model_fields) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in getattr(annotation, "__args__", ()) for m in _models_in(inner)]


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
