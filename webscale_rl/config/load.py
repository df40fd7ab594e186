"""Typed settings from YAML: the package's `conf/`, overlaid by the user's file and `--set` overrides.

Every value has its default in `conf/`, with a comment; an unknown key is an error with a suggestion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, create_model

from webscale_rl.core.files import conf_folder, read_yaml
from webscale_rl.core.settings import IS_PATH, Section
from webscale_rl.core.suggest import nearest
from webscale_rl.errors import ConfigError
from webscale_rl.llm.engines import EngineSettings
from webscale_rl.stages.ingest.sources import SourceSettings
from webscale_rl.stages.registry import STAGES


class SparkSettings(Section):
    """How a session is started where none is active."""

    master: str | None = Field(description="Spark master; null leaves it to spark-submit")
    jars: str | None = Field(description="folder with Delta's jars, for machines without access to Maven")
    conf: dict[str, str] = Field(description="Spark settings, as spark-submit's --conf")


class Config(Section):
    """The whole configuration; `config_model` adds a section a stage."""

    warehouse: str
    domains: str = Field(
        description="file of the domains; a bare name is looked up in conf/", json_schema_extra=IS_PATH
    )
    demonstrations: str = Field(
        description="folder of demonstrations, one file a domain", json_schema_extra=IS_PATH
    )
    plugins: list[str] = Field(description="modules that register stages, gates, answer types or exporters")
    spark: SparkSettings
    sources: list[SourceSettings]
    engines: dict[str, EngineSettings]
    kind: Literal["webscale-rl"] = "webscale-rl"

    @property
    def sections(self) -> dict[str, Section]:
        """The settings of every stage."""
        return {stage.name: getattr(self, stage.name) for stage in STAGES}


def config_model() -> type[Config]:
    """`Config` with the sections of the stages that are known now."""
    return _config_model(tuple((stage.name, stage.settings) for stage in STAGES))


@cache
def _config_model(sections: tuple[tuple[str, type[Section]], ...]) -> type[Config]:
    # One model for the same stages, so that configurations can be compared.
    fields: dict[str, Any] = {name: (settings, ...) for name, settings in sections}
    if taken := sorted(set(fields) & set(Config.model_fields)):
        raise ConfigError(f"a stage cannot be called {taken[0]!r}: the configuration has that key already")
    return create_model("Config", __base__=Config, **fields)


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
        _load_plugins(user.get("plugins"))
        _anchor_paths(user, config_model(), Path(path).absolute().parent)
        merge(data, user)
    if values is not None:
        merge(data, dict(values))
    # What plugins bring has sections that the other overrides may be about.
    about_plugins = [override for override in overrides if override.partition("=")[0].strip() == "plugins"]
    for override in about_plugins:
        _override(data, override)
    _load_plugins(data.get("plugins"))
    data = with_stage_defaults(data)
    for override in overrides:
        if override not in about_plugins:
            _override(data, override)
    return validate(data)


def defaults() -> dict[str, Any]:
    """The shipped configuration as plain data."""
    folder = conf_folder()
    data = read_yaml(folder / "pipeline.yml")
    data["engines"] = read_yaml(folder / "engines.yml")
    for path in sorted((folder / "stages").glob("*.yml")):
        data[path.stem] = read_yaml(path)
    return data


def with_stage_defaults(data: dict[str, Any]) -> dict[str, Any]:
    """The data with a section for every stage that has none: such a stage has its defaults in its
    settings.
    """
    return data | {stage.name: {} for stage in STAGES if stage.name not in data}


# Plugins that have registered what they bring, which is done once a process.
_LOADED: set[str] = set()


def _load_plugins(names: Any) -> None:
    """Import the modules that bring what the package does not have, and have them register it.

    Raises:
        ConfigError: one cannot be imported.
    """
    for name in names if isinstance(names, list) else []:
        try:
            plugin = import_module(str(name))
        except ImportError as error:
            raise ConfigError(
                f"plugins: {name} cannot be imported ({error}): is it on PYTHONPATH?"
            ) from error
        if plugin.__name__ not in _LOADED:
            getattr(plugin, "register", lambda: None)()
            _LOADED.add(plugin.__name__)


def validate(data: dict[str, Any]) -> Config:
    """Plain data as typed settings.

    Raises:
        ConfigError: one line with every fault, and the nearest known key for an unknown one.
    """
    try:
        return config_model().model_validate(data)
    except ValidationError as error:
        faults = [_fault(config_model(), dict(fault)) for fault in error.errors()]
        raise ConfigError("configuration: " + "; ".join(faults)) from error


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
        raise ConfigError(f"--set {override!r}: the value is not valid YAML") from error
    *sections, key = path.strip().split(".")
    at = data
    for depth, section in enumerate(sections):
        inner = at.get(section)
        if inner is None and section in _fields_at(config_model(), sections[:depth]):
            inner = at[section] = {}
        if not isinstance(inner, dict):
            known = ".".join(sections[: depth + 1])
            raise ConfigError(f"--set {override!r}: no section {known!r}{nearest(section, at)}")
        at = inner
    at[key] = value


def _anchor_paths(data: Any, model: type[BaseModel], folder: Path) -> None:
    """Make the paths in a user's file relative to that file, where they lie beside it; other names stay."""

    def anchored(value: Any) -> Any:
        if isinstance(value, list):
            return [anchored(one) for one in value]
        if isinstance(value, str) and "://" not in value and (folder / value).exists():
            return str(folder / value)
        return value

    for name, field in model.model_fields.items() if isinstance(data, dict) else ():
        if name not in data:
            continue
        if field.json_schema_extra == IS_PATH:
            data[name] = anchored(data[name])
        for inner in _models_in(field.annotation)[:1]:
            for part in data[name] if isinstance(data[name], list) else [data[name]]:
                _anchor_paths(part, inner, folder)


def _fault(model: type[BaseModel], fault: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _fields_at(model, fault["loc"][:-1])
        return f"unknown key {where!r}{nearest(str(fault['loc'][-1]), known)}"
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
