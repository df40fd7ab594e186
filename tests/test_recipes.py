"""Canonical JSON and the hashes that are made of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.core.fingerprint import canonical_json, recipe_hash, sha256_file, sha256_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_json_is_json_of_the_same_value(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(), max_size=6))
def test_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert canonical_json(backwards) == canonical_json(value)
    assert recipe_hash({"a": value}) == recipe_hash({"a": backwards})


def test_the_form_is_fixed() -> None:
    body = {"b": [1, 0.5, None, True], "a": 'ä "x"\n'}
    assert canonical_json(body) == '{"a":"ä \\"x\\"\\n","b":[1,0.5,null,true]}'
    assert recipe_hash(body) == hashlib.sha256(canonical_json(body).encode()).hexdigest()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_without_a_json_form_are_refused(number: float) -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": number})


def test_things_without_a_json_form_are_refused() -> None:
    with pytest.raises(TypeError):
        canonical_json({"a": object()})


def test_files_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("größe".encode() * 300_000)
    assert sha256_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sha256_text("größe") == hashlib.sha256("größe".encode()).hexdigest()
