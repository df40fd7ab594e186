"""The folders that vLLM reads a model and an adapter from: what tells one from another."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from udfs.engines.errors import ModelMissingError

_MIB = 1 << 20
# A file up to this size is read whole, of a larger one a MiB of each stretch of this length.
_STRETCH = 64 * _MIB
# A safetensors file begins with the length of its header; anything longer is none.
_LONGEST_HEADER = 100 * _MIB
_LORA_CONFIG = "adapter_config.json"


def content_hash(folder: Path) -> str:
    """A hash of a model's folder, which does not read a model of hundreds of gigabytes.

    Of each file path and size; of one up to 64 MiB all of it, of a larger one the header (safetensors), 1 MiB
    of every 64 MiB, and the last MiB. Of a folder without a file over 2 MiB it is `first_and_last_hash`.

    Raises:
        ModelMissingError: it is no model's folder.
    """
    return _content_hash(folder, _files(folder))


def first_and_last_hash(folder: Path) -> str:
    """The hash that earlier versions took: path and size of each file, its first MiB and its last one.

    Raises:
        ModelMissingError: it is no model's folder.
    """
    digest = hashlib.sha256()
    for name, size, _ in _files(folder):
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            for part in _ends(file, size):
                digest.update(part)
    return digest.hexdigest()


_Files = tuple[tuple[str, int, int], ...]


def _files(folder: Path) -> _Files:
    """Name, size and time of change of each file."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    if not any(path.name == "config.json" for path in found):
        raise ModelMissingError(f"{folder} has no config.json: it is not a model folder")
    stats = [(path, path.stat()) for path in found]
    return tuple((str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns) for path, stat in stats)


@lru_cache(maxsize=16)
def _content_hash(folder: Path, files: _Files) -> str:
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{name}\0{size}\0".encode())
        with (folder / name).open("rb") as file:
            for part in _ends(file, size):
                digest.update(part)
            if size > 2 * _MIB:
                for part in _between(file, size):
                    digest.update(part)
    return digest.hexdigest()


def _ends(file: BinaryIO, size: int) -> Iterator[bytes]:
    yield file.read(_MIB)
    if size > _MIB:
        file.seek(max(_MIB, size - _MIB))
        yield file.read(_MIB)


def _between(file: BinaryIO, size: int) -> Iterator[bytes]:
    """What is read of a file beside its ends."""
    if size > _STRETCH:
        file.seek(0)
        start = file.read(8)
        length = struct.unpack("<Q", start)[0]
        if length <= min(size, _LONGEST_HEADER):
            yield file.read(length)
        positions = range(0, size, _STRETCH)
    else:
        positions = range(_MIB, size, _MIB)
    for position in positions:
        file.seek(position)
        yield file.read(_MIB)


def adapter_hash(folder: str | None) -> str | None:
    """A hash of the adapter that a folder holds; None for none.

    Raises:
        ModelMissingError: it holds none.
    """
    if folder is None:
        return None
    files = [Path(folder) / name for name in (_LORA_CONFIG, "adapter_model.safetensors")]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ModelMissingError(f"{folder} has no {missing[0]}: it is not the folder of a LoRA adapter")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def lora_rank(folder: str) -> int:
    """The next rank that vLLM has kernels for."""
    rank = int(json.loads((Path(folder) / _LORA_CONFIG).read_text())["r"])
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), rank)
