"""Reads what a GGUF model file says about itself: name, quantisation, template, control tokens.

Only the header is read (a few megabytes), never the weights. The layout is that of the GGUF
specification, versions 2 and 3, in the ggml project's documentation.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from udfs.engines.errors import ModelMissingError

_SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))
_STRING, _ARRAY = 8, 9

# `general.file_type`, the quantisation that most of the tensors have.
_FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}
# `tokenizer.ggml.token_type` of tokens that steer the model, like the end of a message.
_CONTROL = 3


@dataclass(frozen=True)
class ModelFile:
    """A model file's header; `kind` is model or adapter."""

    path: str
    name: str
    kind: str
    dtype: str
    chat_template: str
    context_length: int
    control_tokens: tuple[str, ...]


def read_header(path: str) -> ModelFile:
    """The header of a model file, read once per version of the file (path, size, time).

    Raises:
        ModelMissingError: there is no such file, or it is no GGUF file.
    """
    return _read_header(path, *_version(path))


def model_sha256(path: str) -> str:
    """The hex sha256 of the file's bytes, computed once per version of the file (path, size, time).

    Raises:
        ModelMissingError: there is no such file.
    """
    return _sha256(path, *_version(path))


def _version(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ModelMissingError(f"model file {path}: {error.strerror or error}") from error
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=16)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelMissingError(f"model file {path}: {error.strerror or error}") from error


@lru_cache(maxsize=16)
def _read_header(path: str, size: int, mtime_ns: int) -> ModelFile:
    try:
        with open(path, "rb") as file:
            fields = _fields(file, size)
    except OSError as error:
        raise ModelMissingError(f"model file {path}: {error.strerror or error}") from error
    except (struct.error, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ModelMissingError(f"{path} is not a readable GGUF model file: {error}") from error
    architecture = fields.get("general.architecture", "")
    file_type = int(fields.get("general.file_type", -1))
    tokens = fields.get("tokenizer.ggml.tokens", [])
    types = fields.get("tokenizer.ggml.token_type", [])
    return ModelFile(
        path=path,
        name=str(fields.get("general.name") or os.path.basename(path)),
        kind=str(fields.get("general.type") or "model"),
        dtype=_FILE_TYPES.get(file_type, f"file_type_{file_type}"),
        chat_template=str(fields.get("tokenizer.chat_template", "")),
        context_length=int(fields.get(f"{architecture}.context_length", 0)),
        control_tokens=tuple(token for token, kind in zip(tokens, types, strict=False) if kind == _CONTROL),
    )


def _fields(file: BinaryIO, size: int) -> Mapping[str, Any]:
    magic, version = struct.unpack("<4sI", file.read(8))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError("no GGUF header of version 2 or 3")
    _tensors, count = struct.unpack("<QQ", file.read(16))
    return {_text(file, size): _value(file, struct.unpack("<I", file.read(4))[0], size) for _ in range(count)}


def _text(file: BinaryIO, size: int) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size:
        raise ValueError("cut off")
    return file.read(length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int, size: int) -> Any:
    if kind == _STRING:
        return _text(file, size)
    if kind == _ARRAY:
        inner, length = struct.unpack("<IQ", file.read(12))
        if length > size:
            raise ValueError("cut off")
        if inner in (_STRING, _ARRAY):
            return [_value(file, inner, size) for _ in range(length)]
        form = f"<{length}{_SCALARS[inner]}"
        return list(struct.unpack(form, file.read(struct.calcsize(form))))
    form = "<" + _SCALARS[kind]
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]
