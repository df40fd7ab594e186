"""The engine vllm without vLLM: what tells one model from another. With it: tests/vllm_cpu."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from udfs.engines.vllm.engine import VllmEngine

MIB = 1 << 20


def model(folder: Path, size: int, at: int = 0, byte: bytes = b"", header: bytes = b"") -> dict[str, str]:
    """A model's folder with one file of weights: zeros, but for one byte. The options for it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)
        file.write(struct.pack("<Q", len(header)) + header if header else b"")
        file.seek(at)
        file.write(byte)
    return {"model": str(folder)}


@pytest.mark.parametrize(
    ("size", "at"),
    [
        (3 * MIB, 3 * MIB // 2),
        (40 * MIB, 20 * MIB + 5),
        (64 * MIB, 32 * MIB),
        (200 * MIB, 64 * MIB),
        (200 * MIB, 129 * MIB - 1),
        (200 * MIB, 0),
        (200 * MIB, 200 * MIB - 1),
    ],
)
def test_models_that_differ_anywhere_looked_at_are_two(tmp_path: Path, size: int, at: int) -> None:
    one, other = (
        VllmEngine.identity(model(tmp_path / name, size, at, byte))
        for name, byte in (("one", b"\1"), ("other", b"\2"))
    )
    assert one["model"] != other["model"]
    assert one | {"model": "", "name": ""} == other | {"model": "", "name": ""}
    assert VllmEngine.identity(model(tmp_path / "again", size, at, b"\1"))["model"] == one["model"]


def test_the_whole_header_counts(tmp_path: Path) -> None:
    # Longer than a MiB, as that of a mixture of experts; the difference is behind it.
    names = [f"layers.{n}.weight" for n in range(60_000)]
    hashes = set()
    for last in ("a", "b"):
        header = json.dumps([*names, last]).encode()
        assert len(header) > MIB
        hashes.add(VllmEngine.identity(model(tmp_path / last, 100 * MIB, header=header))["model"])
    assert len(hashes) == 2


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    first = VllmEngine.identity(model(tmp_path / "m", 5 * MIB, 3 * MIB, b"\1"))
    assert VllmEngine.identity(model(tmp_path / "m", 5 * MIB, 3 * MIB, b"\2"))["model"] != first["model"]


def test_what_a_model_was_called_before_is_known(tmp_path: Path) -> None:
    small, large = model(tmp_path / "small", 2 * MIB), model(tmp_path / "large", 5 * MIB, 2 * MIB, b"x")
    # The digest of the two ends, as it stands in warehouses.
    assert VllmEngine.identity(small)["model"] == (
        "2d4d4a8ce04fbab18a0a0888e916869593d259ace8be22c882209f92a29820ce"
    )
    assert VllmEngine.legacy_identities(small) == []
    (before,) = VllmEngine.legacy_identities(large)
    assert before["model"] == "9acba35352326c9290b9fc273666f7ad9194519df7894c9f0ac75a62af2f2984"
    found = VllmEngine.identity(large)
    assert before == found | {"model": before["model"]}
    assert found["model"] != before["model"]
    assert VllmEngine.legacy_identities({"model": "org/model", "revision": "3"}) == []
