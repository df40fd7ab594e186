"""Rules that cost nothing: which documents are worth a language model's time.

A rule is a name, a condition on metrics, and a threshold from the configuration. The metrics are native
columns, each measured once; only the language needs Python (py3langid, and only where languages are
configured). A document is rejected with the name of every rule that it breaks.

A "word" here is a run of characters between spaces, or one character of a script that puts no spaces
between words (Chinese, Japanese, Thai ...), so that such documents are not taken for short ones.

Every expression works in one pass over the text: single character classes and plain alternations, no
nested repetition, and n-grams by position in an array that is bound once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.settings import Section
from webscale_rl.core.stage import Body, Subject
from webscale_rl.core.table import (
    SCORES,
    STRING,
    stage_table,
)
from webscale_rl.errors import ConfigError
from webscale_rl.llm.parts import Parts
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.frame_stage import FrameStage
from webscale_rl.text import language as language_udf
from webscale_rl.text.language import UNSPACED_SCRIPTS
from webscale_rl.text.layout import numbers
from webscale_rl.text.sentences import STOPS, WIDE_STOPS

VERSION = 3

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]

_WORD = f"[{UNSPACED_SCRIPTS}]|[^\\s\\p{{Z}}{UNSPACED_SCRIPTS}]+"
# A hash sign that neither begins a heading (up to six and a space) nor stands behind a letter, as in C#.
_HASH = r"(?<!\p{L})(?:(?<!(?:^|\n) {0,3}#{0,5})#|#(?=#{0,5}[^#\s]))"
# Hash signs and ellipses (Gopher), and pictures: everything Unicode calls "other symbol", except the
# signs that science and commerce write in running text.
_SYMBOL = rf"{_HASH}|…|\.\.\.|[\p{{So}}&&[^°©®№℃℉]]"
_LIST_MARK = r"^(?:[-*+•‣▪◦●○■–—>]\s|\(?\d{1,3}[.)]\s|\(?[A-Za-z][.)]\s|\[[ xX]\]\s)"
# A row of a table without bars: a tab between cells, or two gaps of three spaces and more.
_TABLE_ROW = r"\t|\S {3,}+\S.*?\S {3,}+\S"
# Bars stand in formulas (|G|, {x | x > 0}) and code (a || b), too. Those of a table stand apart from words,
# or lean on all cells at once, and as many, or a drawn line, stand above or below.
_BRACKETED = r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}"
_BAR_APART = r"(?<!\S)\|(?!\S)"
_NO_NARROW_CELL = r"^[^|]|[^|]$|\|\s|\s\||\|\|"
_NO_RULE = r"[^|:+=\-\s]"
_PIECE_END = rf"[\n{STOPS}{WIDE_STOPS}|»›•·]+"


METRICS = (
    "words",
    "mean_word_length",
    "symbol_ratio",
    "letter_words",
    "repeated_lines",
    "repeated_line_characters",
    "repeated_ngrams",
    "boilerplate",
    "list_lines",
    "language_probability",
)


class FilterSettings(Section):
    """Thresholds of the rules; null switches a rule off."""

    min_words: Count | None = Field(description="too_short: fewer words than this")
    max_words: Count | None = Field(description="too_long: more words than this")
    min_mean_word_length: Annotated[float, Field(ge=0)] | None = Field(
        description="mean_word_length: a lower mean number of characters a word"
    )
    max_mean_word_length: Annotated[float, Field(ge=0)] | None = Field(
        description="mean_word_length: a higher mean number of characters a word"
    )
    max_symbol_ratio: Annotated[float, Field(ge=0)] | None = Field(
        description="symbol_ratio: more hash signs, ellipses and pictures a word"
    )
    min_letter_words: Share | None = Field(
        description="few_letters: a smaller share of words with at least one letter"
    )
    max_repeated_lines: Share | None = Field(
        description="repeated_lines: a larger share of lines that stood before"
    )
    max_repeated_line_characters: Share | None = Field(
        description="repeated_lines: a larger share of characters in lines that stood before"
    )
    ngram_words: Annotated[int, Field(ge=2, le=20)] = Field(
        description="length of the n-grams of repeated_ngrams, in words"
    )
    max_repeated_ngrams: Share | None = Field(
        description="repeated_ngrams: a larger share of n-grams that stood before"
    )
    max_boilerplate: Share | None = Field(
        description="boilerplate: a larger share of characters in lines and sentences that are boilerplate"
    )
    boilerplate_phrases: list[str] = Field(
        description="a line or sentence with one of these is boilerplate (whole words, any case)"
    )
    navigation_labels: list[str] = Field(
        description="a line or menu entry that is nothing but one of these is boilerplate (any case)"
    )
    max_list_lines: Share | None = Field(
        description="mostly_lists: a larger share of characters in list items and table rows"
    )
    languages: list[str] = Field(
        description="wrong_language: not one of these (ISO 639 codes); empty takes every language"
    )
    min_language_probability: Share = Field(
        description="wrong_language: the language is less certain than this"
    )
    language_characters: Annotated[int, Field(ge=100)] = Field(
        description="how many characters of a document are read to tell its language"
    )


def apply(documents: DataFrame, settings: FilterSettings) -> DataFrame:
    """Judge documents by rules.

    Args:
        documents: document_key string, text string (null counts as empty).

    Returns:
        One row for each document: document_key, status, reasons (every broken rule, sorted), metrics
        (map from name to double, without those that do not apply to the text), language (the likeliest
        one, null where no languages are configured).

    Raises:
        ConfigError: a language that cannot be told, or py3langid is missing.
    """
    measured = _measure(documents, settings)
    if settings.languages:
        _require_languages(settings.languages)
        # Not in pyspark's type hints yet.
        identify = F.arrow_udf(  # type: ignore[attr-defined]
            language_udf.identify_batch, language_udf.RESULT_TYPE
        )
        measured = measured.withColumn("_language", identify(F.col("_head")))
    else:
        measured = measured.withColumn("_language", F.lit(None).cast(language_udf.RESULT_TYPE))
    measured = measured.withColumn("language_probability", F.col("_language.probability"))
    broken = [F.when(F.coalesce(rule, F.lit(False)), name) for name, rule in _rules(settings)]
    reasons = F.array_sort(F.array_compact(F.array(*broken))) if broken else F.array()
    metrics = F.create_map(*[part for name in METRICS for part in (F.lit(name), F.col(name))])
    return measured.select(
        "document_key",
        F.when(F.size(reasons) == 0, "kept").otherwise("rejected").alias("status"),
        reasons.cast("array<string>").alias("reasons"),
        F.map_filter(metrics, lambda _, value: value.isNotNull()).alias("metrics"),
        F.col("_language.language").alias("language"),
    )


def library_versions(settings: FilterSettings) -> dict[str, str]:
    """The libraries that verdicts depend on, for the recipe: another model may tell other languages.

    Raises:
        ConfigError: as `apply`.
    """
    if not settings.languages:
        return {}
    _require_languages(settings.languages)
    return {"py3langid": version("py3langid")}


def _rules(settings: FilterSettings) -> list[tuple[str, Column]]:
    """(reason, condition that rejects) of every rule that is switched on."""
    bounds: list[tuple[str, str, bool, float | None]] = [
        # The paper drops documents under 50 tokens; Gopher under 50 words.
        ("too_short", "words", False, settings.min_words),
        # Gopher drops documents over 100,000 words.
        ("too_long", "words", True, settings.max_words),
        # Gopher: the mean length of a word lies between 3 and 10 characters.
        ("mean_word_length", "mean_word_length", False, settings.min_mean_word_length),
        ("mean_word_length", "mean_word_length", True, settings.max_mean_word_length),
        # Gopher: at most one hash sign or ellipsis for ten words. Pictures are counted with them.
        ("symbol_ratio", "symbol_ratio", True, settings.max_symbol_ratio),
        # Gopher: 80% of the words have a letter. Ours is lower: formulas and code are wanted.
        ("few_letters", "letter_words", False, settings.min_letter_words),
        # Gopher: at most 30% of the lines, and 20% of the characters, stood in an earlier line.
        ("repeated_lines", "repeated_lines", True, settings.max_repeated_lines),
        (
            "repeated_lines",
            "repeated_line_characters",
            True,
            settings.max_repeated_line_characters,
        ),
        # Gopher: at most 15% in repeated 5-grams (there by characters, here by n-grams).
        ("repeated_ngrams", "repeated_ngrams", True, settings.max_repeated_ngrams),
        # C4 drops lines on JavaScript, cookies and terms of use; here their share decides, so that an
        # article with one banner above it stays.
        ("boilerplate", "boilerplate", True, settings.max_boilerplate),
        # Gopher and FineWeb: at most 90% of the lines begin with a bullet.
        ("mostly_lists", "list_lines", True, settings.max_list_lines),
    ]
    rules: dict[str, Column] = {}
    for name, metric, is_upper, bound in bounds:
        if bound is None:
            continue
        value = F.col(metric)
        condition = F.coalesce(value > bound if is_upper else value < bound, F.lit(False))
        rules[name] = rules[name] | condition if name in rules else condition
    if settings.languages:
        # FineWeb keeps English at 0.65 and more (by another classifier). A text that has no language
        # at all, such as an empty one, is rejected by the rules on its length.
        found, probability = F.col("_language.language"), F.col("_language.probability")
        rules["wrong_language"] = found.isNotNull() & (
            ~found.isin(settings.languages) | (probability < settings.min_language_probability)
        )
    return list(rules.items())


def _measure(documents: DataFrame, settings: FilterSettings) -> DataFrame:
    """The documents with a column for each metric but the language's, and `_head` for that one."""
    text = F.coalesce(F.col("text"), F.lit(""))
    # Each select below is used more than once by the next, so Spark keeps them apart and splits the
    # text into words and lines once.
    split = documents.select(
        "document_key",
        F.substring(text, 1, settings.language_characters).alias("_head"),
        text.alias("_text"),
        F.regexp_extract_all(F.lower(text), F.lit(_WORD), F.lit(0)).alias("_words"),
        _trimmed(F.split(text, "\n")).alias("_lines"),
        _trimmed(F.split(F.lower(text), _PIECE_END)).alias("_pieces"),
    )
    counted = split.select(
        "*",
        F.size("_words").cast("double").alias("words"),
        _characters(F.col("_words")).alias("_word_characters"),
        F.length(F.regexp_replace("_text", f"[^{UNSPACED_SCRIPTS}]+", "")).alias("_unspaced"),
        F.size("_lines").alias("_line_count"),
        _characters(F.col("_lines")).alias("_line_characters"),
        F.array_distinct("_lines").alias("_distinct_lines"),
        F.transform("_lines", _bars).alias("_bars"),
        _characters(F.col("_pieces")).alias("_piece_characters"),
    )
    # Metrics of words that mean nothing where most "words" are single characters are null there.
    spaced = F.col("_unspaced") * 2 < F.col("words")
    repeated = F.when(spaced, _repeated(F.col("_words"), settings.ngram_words)).otherwise(
        _repeated(F.col("_words"), 2 * settings.ngram_words)
    )  # a word is about two characters
    boilerplate = F.filter("_pieces", lambda piece: _is_boilerplate(piece, settings))
    listed = F.filter(
        "_lines", lambda line, at: line.rlike(_LIST_MARK) | line.rlike(_TABLE_ROW) | _is_barred(at)
    )
    symbols = F.size(F.regexp_extract_all("_text", F.lit(_SYMBOL), F.lit(0)))
    lettered = F.size(F.filter("_words", lambda word: word.rlike(r"\p{L}")))
    line_characters = F.col("_line_characters")
    return counted.select(
        "document_key",
        "_head",
        "words",
        F.when(spaced, _share(F.col("_word_characters"), F.col("words"))).alias("mean_word_length"),
        _share(symbols, F.col("words")).alias("symbol_ratio"),
        _share(lettered, F.col("words")).alias("letter_words"),
        (1 - _share(F.size("_distinct_lines"), F.col("_line_count"))).alias("repeated_lines"),
        (1 - _share(_characters(F.col("_distinct_lines")), line_characters)).alias(
            "repeated_line_characters"
        ),
        repeated.alias("repeated_ngrams"),
        _share(_characters(boilerplate), F.col("_piece_characters")).alias("boilerplate"),
        _share(_characters(listed), line_characters).alias("list_lines"),
    )


def _bars(line: Column) -> Column:
    """How many bars part the cells of a line; 0 where none does, -1 for a line that is drawn with them."""
    bare = F.regexp_replace(line, _BRACKETED, "")
    bars, apart = F.regexp_count(bare, F.lit(r"\|")), F.regexp_count(bare, F.lit(_BAR_APART))
    every = F.regexp_count(line, F.lit(r"\|"))
    return (
        F.when(every < 2, 0)
        .when(~line.rlike(_NO_RULE), -1)
        .when(~line.rlike(_NO_NARROW_CELL), every)
        .when(apart >= F.greatest(F.lit(2), bars - 1), bars)
        .otherwise(0)
    )


def _is_barred(at: Column) -> Column:
    """Whether the line at that place is a row of a table by its bars (`_bars`)."""
    bars = F.get("_bars", at)
    above, below = (F.coalesce(F.get("_bars", at + step), F.lit(0)) for step in (-1, 1))
    return (bars != 0) & (F.lit(-1).isin(bars, above, below) | bars.isin(above, below))


def _is_boilerplate(piece: Column, settings: FilterSettings) -> Column:
    """Whether a lower-case line or sentence belongs to the page instead of the document."""
    found = F.lit(False)
    if settings.boilerplate_phrases:
        found = found | piece.rlike(_any_phrase(settings.boilerplate_phrases))
    if settings.navigation_labels:
        found = found | piece.isin([label.lower().strip() for label in settings.navigation_labels])
    return found


def _any_phrase(phrases: Sequence[str]) -> str:
    """An expression for one of the phrases as whole words, any space between the words."""
    alternatives = [r"\s+".join(re.escape(word) for word in phrase.lower().split()) for phrase in phrases]
    return rf"(?<![\p{{L}}\p{{N}}])(?:{'|'.join(alternatives)})(?![\p{{L}}\p{{N}}])"


def _trimmed(parts: Column) -> Column:
    """The parts without the spaces around them, and without the empty ones."""
    return F.filter(
        F.transform(parts, lambda part: F.trim(part, F.lit(" \t\r\u00a0"))), lambda part: part != ""
    )


def _characters(parts: Column) -> Column:
    """The number of characters of all parts together."""
    return F.length(F.array_join(parts, ""))


def _share(part: Column, whole: Column) -> Column:
    """part / whole as a double; null where there is no whole."""
    return F.when(whole > 0, part.cast("double") / whole)


def _repeated(words: Column, length: int) -> Column:
    """The share of n-grams that stood before in the document; null for fewer than two n-grams.

    The n-grams are compared by a 64-bit hash. The array of words is bound by the outer transform: a
    column named inside a lambda would be split anew for every element.
    """

    def of_bound(bound: Column) -> Column:
        last = F.size(bound) - length
        return F.transform(
            F.sequence(F.lit(0), last),
            lambda at: F.xxhash64(*[F.get(bound, at + step) for step in range(length)]),
        )

    ngrams = F.get(F.transform(F.array(words), of_bound), F.lit(0))
    count = F.size(words) - (length - 1)
    return F.when(count >= 2, 1 - F.size(F.array_distinct(ngrams)).cast("double") / count)


def _require_languages(languages: Sequence[str]) -> None:
    """Raise a ConfigError for a language that py3langid does not know, or when it is missing."""
    try:
        known = language_udf.known_languages()
    except language_udf.LanguageLibraryError as error:
        raise ConfigError(f"filter.languages: {error}") from error
    unknown = sorted(set(languages) - known)
    if unknown:
        raise ConfigError(
            f"filter.languages: {', '.join(unknown)} cannot be told; use ISO 639 codes such as en, de, zh"
        )


FILTERED = stage_table(
    "filtered",
    "filter: the cheap rules' verdict on a document",
    "document_key",
    ("metrics", SCORES, "what each rule measured"),
    ("language", STRING, "language found (ISO 639-1), null when languages are not configured"),
)


class FilterStage(FrameStage[FilterSettings]):
    """The stage filter."""

    name = "filter"
    version = VERSION
    after = "ingest"
    summary = "apply the cheap rules to the documents"
    subject = Subject.DOCUMENT
    table = FILTERED
    settings = FilterSettings

    def recipe(self, parts: Parts) -> Body:
        """Settings, and the libraries that the language rests on."""
        return super().recipe(parts) | {"libraries": library_versions(self.section(parts.sections))}

    def transform(self, context: Context, rows: DataFrame) -> DataFrame:
        """`apply`."""
        return apply(rows, self.section(context.parts.sections))

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """The metrics and the language."""
        language = row["language"] and f"language {row['language']}"
        return [("", numbers(row["metrics"])), ("", language)]


STAGE = FilterStage()
