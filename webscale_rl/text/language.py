"""Which language a text is in: py3langid over Arrow columns of text.

py3langid is a naive Bayes classifier over byte n-grams for 140 languages, offline, with a model of
its own. It is loaded once in each Python worker.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa

from webscale_rl.errors import UserError
from webscale_rl.text.clean import ordered_marks

# Scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han ideographs. What stands
# between the brackets of a character class; the same string serves Java's and Python's expressions.
UNSPACED_SCRIPTS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f"
)

RESULT_TYPE = "struct<language:string,probability:double>"
_ARROW_TYPE = pa.struct([("language", pa.string()), ("probability", pa.float64())])


class LanguageLibraryError(UserError):
    """py3langid cannot be used here; the message says what to do."""


@cache
def _identifier() -> Any:
    """The classifier, loaded on first use in this process (normalised probabilities)."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise LanguageLibraryError(
            "telling languages needs py3langid: pip install 'py3langid>=0.4', "
            "or set languages: [] to take every language"
        ) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> frozenset[str]:
    """The ISO 639 codes that can be told apart.

    Raises:
        LanguageLibraryError: py3langid is not installed.
    """
    return frozenset(_identifier().labels)


def identify(text: str | None) -> tuple[str | None, float | None]:
    """The language of a text and its probability (0 to 1); both None for nothing but whitespace.

    Raises:
        LanguageLibraryError: py3langid is not installed.
    """
    if text is None or not text.strip():
        return None, None
    language, probability = _identifier().classify(ordered_marks(text))
    return str(language), float(probability)


def identify_batch(texts: pa.Array) -> pa.Array:
    """One struct (language, probability) for each text of an Arrow string column, in its order."""
    rows = []
    for text in texts:
        language, probability = identify(text.as_py())
        rows.append({"language": language, "probability": probability})
    return pa.array(rows, type=_ARROW_TYPE)
