"""Files that the configuration names: the package's `conf/`, and the user's own."""

from __future__ import annotations

import atexit
import functools
import importlib.resources
import tempfile
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from webscale_rl.errors import ConfigError


@functools.cache
def conf_folder() -> Path:
    """The folder `conf/`: inside the installed package, or beside it in a clone.

    Out of a zip archive (`spark-submit --py-files`) it is copied once, to a temporary folder that goes with
    this process.
    """
    package: Any = importlib.resources.files("webscale_rl")
    inside = package.joinpath("conf")
    found = inside if inside.is_dir() else package.parent.joinpath("conf")
    if isinstance(found, Path):
        return found
    folder = tempfile.TemporaryDirectory(prefix="webscale-rl-conf-")
    atexit.register(folder.cleanup)
    copy = Path(folder.name) / "conf"
    _copy(found, copy)
    return copy


def _copy(source: Traversable, target: Path) -> None:
    """A folder with all that is in it; `importlib.resources.as_file` takes none before Python 3.12."""
    if source.is_dir():
        target.mkdir()
        for entry in source.iterdir():
            _copy(entry, target / entry.name)
    else:
        target.write_bytes(source.read_bytes())


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


def load_yaml(path: str | Path) -> Any:
    """What a YAML file holds.

    Raises:
        ConfigError: missing, unreadable, or not YAML.
    """
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; an empty file holds an empty one.

    Raises:
        ConfigError: as `load_yaml`, or it holds something else.
    """
    data = load_yaml(path)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, not a {type(data).__name__}")
    return data
