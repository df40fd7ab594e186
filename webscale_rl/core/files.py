"""Files that the configuration names: the package's `conf/`, and the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from webscale_rl.errors import ConfigError


def conf_folder() -> Path:
    """The folder `conf/`: inside the installed package, or beside it in a clone."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


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
