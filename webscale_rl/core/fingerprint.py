"""Recipes: the hash of everything that a stage's outcome depends on.

A recipe's body is plain data (prompt texts, schemas, demonstrations, model hashes, thresholds, the
stage's version number). Its canonical JSON is hashed, and kept in full in the table `recipes`, so that
what produced a row can be read long after the files were edited.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and raw UTF-8: equal data gives equal text.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value has no JSON form.
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_text(text: str) -> str:
    """Hex sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Hex sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def recipe_hash(body: dict[str, Any]) -> str:
    """The recipe of a body: the sha256 of its canonical JSON."""
    return sha256_text(canonical_json(body))
