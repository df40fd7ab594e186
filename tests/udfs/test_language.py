"""Telling languages, without Spark."""

from __future__ import annotations

import builtins
from typing import Any

import pyarrow as pa
import pytest

from webscale_rl.text import language

SENTENCES = {
    "en": "The river rises in the mountains and flows through ten countries before it reaches the sea.",
    "de": "Der Fluss entspringt im Gebirge und durchquert zehn Länder, bevor er das Meer erreicht.",
    "fr": "Le fleuve prend sa source dans les montagnes et traverse dix pays avant d'atteindre la mer.",
    "ja": "この川は山から流れ出し、海に達するまでに十か国を通っています。",
}


@pytest.mark.parametrize("expected", SENTENCES)
def test_languages_are_told_apart(expected: str) -> None:
    found, probability = language.identify(SENTENCES[expected])
    assert found == expected
    assert probability is not None
    assert 0.8 < probability <= 1.0


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_nothing_has_no_language(text: str | None) -> None:
    assert language.identify(text) == (None, None)


@pytest.mark.parametrize("text", ["🙂🙂🙂", "12345 678", "= + - / ="])
def test_signs_and_figures_are_not_certain(text: str) -> None:
    _, probability = language.identify(text)
    assert probability is not None
    assert probability < 0.5


def test_a_batch_keeps_its_order_and_length() -> None:
    texts = pa.array([SENTENCES["de"], None, SENTENCES["en"], ""])
    found = language.identify_batch(texts)
    assert [row["language"] for row in found.to_pylist()] == ["de", None, "en", None]
    assert language.identify_batch(pa.array([], pa.string())).type == found.type


def test_codes_are_iso_639() -> None:
    assert {"en", "de", "fr", "zh", "ja"} <= language.known_languages()


def test_a_missing_library_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("py3langid"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    language._identifier.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(language.LanguageLibraryError, match="pip install"):
        language.known_languages()
