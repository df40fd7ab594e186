"""The folders that vLLM reads a model and an adapter from: what tells one from another."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from udfs.engines.errors import ModelMissingError

_SMALL_FILE = 1 << 20
_LORA_CONFIG = "adapter_config.json"


def content_hash(folder: Path) -> str:
    """A hash of a model's folder: of small files their content, of large ones name and size, and the header
    and end of each, so that a model of hundreds of gigabytes is not read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    if not any(path.name == "config.json" for path in files):
        raise ModelMissingError(f"{folder} has no config.json: it is no model's folder")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SMALL_FILE))
            if size > _SMALL_FILE:
                file.seek(max(_SMALL_FILE, size - _SMALL_FILE))
                digest.update(file.read(_SMALL_FILE))
    return digest.hexdigest()


def adapter_hash(folder: str | None) -> str | None:
    """A hash of the adapter that a folder holds; None for none.

    Raises:
        ModelMissingError: it holds none.
    """
    if folder is None:
        return None
    files = [Path(folder) / name for name in (_LORA_CONFIG, "adapter_model.safetensors")]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ModelMissingError(f"{folder} has no {missing[0]}: it is no folder of a LoRA adapter")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def lora_rank(folder: str) -> int:
    """The next rank that vLLM has kernels for."""
    rank = int(json.loads((Path(folder) / _LORA_CONFIG).read_text())["r"])
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), rank)
