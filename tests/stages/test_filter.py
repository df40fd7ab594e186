"""The filter stage at its public function: all documents are judged in one go, and looked at one by one."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from chispa import assert_df_equality
from pydantic import ValidationError
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from webscale_rl.errors import ConfigError
from webscale_rl.stages.filter import stage as filter_stage
from webscale_rl.stages.filter.stage import FilterSettings
from webscale_rl.text import language

DEFAULTS = yaml.safe_load(Path("conf/stages/filter.yml").read_text(encoding="utf-8"))
SETTINGS = FilterSettings(**DEFAULTS)
EVERYTHING_OFF: dict[str, Any] = {
    name: [] if isinstance(value, list) else None if name.startswith(("min_", "max_")) else value
    for name, value in DEFAULTS.items()
} | {"min_language_probability": 0.0}

PROSE = (
    "The Danube rises in the Black Forest of Germany and flows for 2,850 kilometres to the Black Sea. "
    "On its way it passes through ten countries, more than any other river in the world. Vienna, "
    "Bratislava, Budapest and Belgrade are the four capitals on its banks. Since 1992 a canal has joined "
    "it with the Rhine, so that ships can travel from the North Sea to the east of Europe. Its delta, "
    "most of which lies in Romania, is home to over three hundred kinds of birds."
)
CHINESE = (
    "多瑙河是欧洲第二长河，发源于德国的黑森林，全长两千八百五十公里，流经十个国家，最后注入黑海。"
    "沿岸有维也纳、布达佩斯和贝尔格莱德等城市，是重要的航运通道。"
)
THAI = "แม่น้ำดานูบเป็นแม่น้ำที่ยาวเป็นอันดับสองของยุโรป มีต้นกำเนิดในป่าดำของเยอรมนีและไหลผ่านสิบประเทศ"
CODE = """Binary search finds a value in a sorted list by halving the part that may hold it.

    def search(values, wanted):
        low, high = 0, len(values)
        while low < high:
            middle = (low + high) // 2
            if values[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        return low

The loop keeps one promise: everything left of low is smaller than the wanted value, and nothing from
high on is. For a list of a million values it needs at most twenty rounds, because each one halves what
is left to look at."""
BANNER = "We use cookies to improve your experience. Accept all cookies\nHome | About us | Contact | Login\n"
GERMAN = (
    "Die Donau entspringt im Schwarzwald und fließt über 2850 Kilometer bis zum Schwarzen Meer. Auf ihrem "
    "Weg durchquert sie zehn Länder, mehr als jeder andere Fluss der Welt. Wien, Bratislava, Budapest und "
    "Belgrad sind die vier Hauptstädte an ihren Ufern. Seit 1992 verbindet sie ein Kanal mit dem Rhein, so "
    "dass Schiffe von der Nordsee bis in den Osten Europas fahren können, ohne das Meer zu berühren."
)
PAGE = (
    BANNER
    + "Subscribe to our newsletter and get the best offers in your inbox. You can unsubscribe at any time.\n"
    + "Already have an account? Sign in to leave a comment. Forgot your password?\n"
    + "By continuing to browse this site you agree to our privacy policy and the terms of use.\n"
    + "© 2020 All rights reserved. Powered by a shop system. Back to top"
)
ITEMS = """What to bring:
- apples, pears and a dozen ripe plums
- two loaves of bread from the bakery in town
- a sharp knife, a board and enough plates
* soft cheese, as well as some hard one
1. red wine that was opened an hour ago
2) water without gas for the younger guests
- blankets, since evenings are cold near lakes
- matches and firewood, but no charcoal"""
TABLE = """| river | rises in | reaches | length in words |
| Danube | Black Forest | Black Sea | two thousand eight hundred kilometres |
| Rhine | Swiss Alps | North Sea | one thousand two hundred |
| Loire | Massif Central | Atlantic Ocean | just over a thousand |
| Volga | Valdai Hills | Caspian Sea | three thousand five hundred |"""

HEADINGS = """# Ferry to Inch

## Summer

The ferry leaves at eight, ten and four. It takes forty minutes and carries bicycles free of charge.

### Sundays

One boat at noon, and none when the wind comes from the south.

## Winter

The boat leaves at nine only. In a gale it stays in port.

### Fares

Adults pay four pounds, children two, and dogs nothing at all."""
SHARP = (
    "C# is a language with static types. In C# a property wraps a field. F# came after C# and shares its "
    "runtime. A C# program is compiled to an intermediate language, and F# uses the same one. The first C# "
    "compiler was written in C++, a later one in C# itself. Most C# books begin with classes, most F# books "
    "with functions and pipelines."
)
GROUPS = (
    "Let G be a finite group and H a subgroup. The index [G:H] is the number of left cosets gH.\n"
    "|G| = [G:H] |H| by Lagrange.\n"
    "Hence the order of every element g divides |G|, since <g> is a subgroup with |<g>| = ord(g).\n"
    "|x| = |y| holds where y is the inverse of x, and |xy| <= |x| + |y| in the word metric of the group G.\n"
    "If |G| = p is prime, then every g other than e generates G, so G is cyclic."
)
BARS = """The guard below lets a boat leave port when the wind is fair or the master insists on it.

if (wind < 20 || master.insists()) { boat.leave(); }
if (a || b || c) return wind | tide;
while (x || !y || z) wait();

Either condition is enough, so the first that holds ends the evaluation, and the others are never looked
at. That matters where a condition has an effect of its own, such as asking the harbour office by radio."""
NARROW_TABLE = """|river|rises in|reaches|
|---|---|---|
|Danube|Black Forest|Black Sea|
|Rhine|Swiss Alps|North Sea|
|Loire|Massif Central|Atlantic Ocean|
|Volga|Valdai Hills|Caspian Sea|
|Oder|Moravian mountains near Olomouc|the Baltic at Szczecin in Poland|"""
OPEN_TABLE = """river | rises in | reaches | of which countries it passes
--- | --- | --- | ---
Danube | Black Forest | Black Sea | ten of them, from Germany to Ukraine
Rhine | Swiss Alps | North Sea | six, and one of them is tiny
Loire | Massif Central (Ardèche) | Atlantic Ocean | one only, which is France
Volga | Valdai Hills | Caspian Sea | one only, and that is the largest"""
BARS_IN_FORMULAS = """|x + y| is never more than |x| + |y|, which is the triangle inequality
|x - y| is at least as much as | |x| - |y| |, and that follows from it
|x| = |-x| for every real number, and |x y| = |x| |y| for every two of them
P(A | B) = P(B | A) P(A) / P(B) is the theorem of Bayes for two events
P(B | A) = P(A | B) P(B) / P(A) is the same theorem with the names changed
{x | x > 0} is the set of positive numbers, {x | x < 0} that of negative ones
|v> and |w> are states, and <v|w> is a number that says how near they are"""
BARS_IN_CODE = """if (left == null || right == null) return left == right ? zero : one;
flags = flags | READ_ONLY; flags |= HIDDEN; if (flags & SYSTEM || size > limit) stop();
cat access.log | grep "timed out" | sort | uniq -c   counts the same messages of a server
  | otherwise = foldr (\\x rest -> x || rest) False, which is a guard of Haskell
ready = connected && (greeted || allowed || waiting); retry = !ready || failures > most;
while (open || pending) { poll(); } closed || close(); ready || throw new Error("no");
options = Options.NONE | Options.FAST; print(a or b, a | b, "a || b are not the same")"""
SPAM = "#sale #shoes #style " * 12 + PROSE
BARE_TABLE = TABLE.replace(" | ", "|").replace("| ", "|").replace(" |", "|")

DOCUMENTS: dict[str, tuple[str | None, list[str]]] = {
    "prose": (PROSE, []),
    "code": (CODE, []),
    "headings": (HEADINGS, []),
    "sharp": (SHARP, []),
    "groups": (GROUPS, []),
    "bars": (BARS, []),
    "hashtags": (SPAM, ["repeated_ngrams", "symbol_ratio"]),
    "bare_table": (BARE_TABLE, ["mostly_lists", "too_short"]),
    "narrow_table": (NARROW_TABLE, ["mostly_lists", "too_short"]),
    "open_table": (OPEN_TABLE, ["mostly_lists"]),
    "bars_in_formulas": (BARS_IN_FORMULAS, []),
    "bars_in_code": (BARS_IN_CODE, []),
    "with_a_banner": (f"{BANNER}\n{PROSE}\n\n{CODE}", []),
    "a_few_signs": (f"{PROSE} It was 25 °C on that day 🙂 # 1 ...", []),
    "null": (None, ["too_short"]),
    "empty": ("", ["too_short"]),
    "whitespace": (" \n\t\n\u00a0", ["too_short"]),
    "fragment": ("The Danube rises in the Black Forest of Germany.", ["too_short"]),
    "chinese": (CHINESE, ["wrong_language"]),
    "thai": (THAI, ["wrong_language"]),
    "german": (GERMAN, ["wrong_language"]),
    "emoji": (
        "🙂🙂 so good 🙂🙂 wow 🙂 " * 12,
        ["few_letters", "mean_word_length", "repeated_ngrams", "symbol_ratio"],
    ),
    "page": (PAGE, ["boilerplate"]),
    "items": (ITEMS, ["mostly_lists"]),
    "table": (TABLE, ["mostly_lists"]),
    "repeated_lines": ("\n".join([PROSE] * 4), ["repeated_lines", "repeated_ngrams"]),
    "repeated_words": ("Buy now and save a lot of money today. " * 20, ["repeated_ngrams"]),
    "figures": (" ".join(f"{n * 7.5:.2f}" for n in range(80)), ["few_letters"]),
    "letters": (" ".join("abcdefghijklmnopqrstuvwxyz" * 4), ["mean_word_length", "repeated_ngrams"]),
}


def judge(spark: SparkSession, texts: dict[str, str | None], settings: FilterSettings) -> dict[str, Row]:
    frame = spark.createDataFrame(list(texts.items()), "document_key string, text string")
    return {row.document_key: row for row in filter_stage.apply(frame, settings).collect()}


@pytest.fixture(scope="module")
def judged(spark: SparkSession) -> dict[str, Row]:
    return judge(spark, {name: text for name, (text, _) in DOCUMENTS.items()}, SETTINGS)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_document_gets_all_its_reasons(judged: dict[str, Row], name: str) -> None:
    row = judged[name]
    expected = DOCUMENTS[name][1]
    # What is no prose has no certain language either; that reason is beside the point here.
    found = [reason for reason in row.reasons if reason in expected or reason != "wrong_language"]
    assert found == expected, row.metrics
    assert row.status == ("rejected" if row.reasons else "kept")


def test_metrics_are_numbers_and_only_those_that_apply(judged: dict[str, Row]) -> None:
    assert set(judged["prose"].metrics) == set(filter_stage.METRICS)
    assert judged["prose"].metrics["words"] == len(PROSE.split())
    assert judged["empty"].metrics == {"words": 0.0}
    assert judged["chinese"].metrics["words"] > 70
    assert "mean_word_length" not in judged["chinese"].metrics
    assert all(value is not None for row in judged.values() for value in row.metrics.values())


def test_the_language_is_told_where_languages_are_configured(judged: dict[str, Row]) -> None:
    assert [judged[name].language for name in ("prose", "german", "thai", "empty")] == [
        "en",
        "de",
        "th",
        None,
    ]


def test_other_languages_and_no_languages(spark: SparkSession) -> None:
    texts: dict[str, str | None] = {"german": GERMAN, "thai": THAI, "prose": PROSE}
    wanted = FilterSettings(**{**DEFAULTS, "languages": ["de", "th"]})
    assert {name: row.reasons for name, row in judge(spark, texts, wanted).items()} == {
        "german": [],
        "thai": [],
        "prose": ["wrong_language"],
    }
    none = FilterSettings(**{**DEFAULTS, "languages": []})
    rows = judge(spark, texts, none)
    assert [row.status for row in rows.values()] == ["kept"] * 3
    assert [row.language for row in rows.values()] == [None] * 3
    assert "language_probability" not in rows["prose"].metrics


def test_null_thresholds_switch_rules_off(spark: SparkSession) -> None:
    off = FilterSettings(**EVERYTHING_OFF)
    rows = judge(spark, {name: text for name, (text, _) in DOCUMENTS.items()}, off)
    assert {row.status for row in rows.values()} == {"kept"}
    longest = FilterSettings(**{**EVERYTHING_OFF, "max_words": 60})
    assert judge(spark, {"prose": PROSE}, longest)["prose"].reasons == ["too_long"]


def test_phrases_are_whole_words_in_any_case_and_taken_literally(spark: SparkSession) -> None:
    settings = FilterSettings(
        **{
            **EVERYTHING_OFF,
            "max_boilerplate": 0.0,
            "boilerplate_phrases": ["Log  In (now)"],
            "navigation_labels": ["Home"],
        }
    )
    texts: dict[str, str | None] = {
        "phrase": "Please LOG IN\u0020\u0020(now)",
        "part": "We blog in (nowhere)",
        "label": "start\nHOME\nend",
        "dotted": "Start… Home… End…",
        "no_label": "home is where you live",
    }
    assert {name: row.status for name, row in judge(spark, texts, settings).items()} == {
        "phrase": "rejected",
        "part": "kept",
        "label": "rejected",
        "dotted": "rejected",
        "no_label": "kept",
    }


def test_partitions_and_order_change_nothing(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [(name, text) for name, (text, _) in DOCUMENTS.items()], "document_key string, text string"
    )

    def columns(rows: DataFrame) -> DataFrame:
        return filter_stage.apply(rows, SETTINGS).withColumn("metrics", F.to_json("metrics"))

    assert_df_equality(
        columns(frame.coalesce(1)), columns(frame.repartition(7, F.rand(2))), ignore_row_order=True
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("".join(f"word{n} " for n in range(500_000)), None),
        ("x" * 5_000_000, "too_short"),
        ("|" * 5_000_000, "mostly_lists"),
        ("a\n" * 1_000_000, "repeated_lines"),
        ("." * 5_000_000, "symbol_ratio"),
        (" " * 5_000_000, "too_short"),
        ("河" * 600_000, "repeated_ngrams"),
    ],
    ids=["words", "word", "bars", "lines", "dots", "spaces", "chinese"],
)
def test_megabytes_are_judged_in_linear_time(spark: SparkSession, text: str, reason: str | None) -> None:
    settings = FilterSettings(**{**DEFAULTS, "languages": []})
    started = time.monotonic()
    reasons = judge(spark, {"big": text}, settings)["big"].reasons
    assert time.monotonic() - started < 120
    assert (reason in reasons) if reason else reasons == []


def test_a_language_that_cannot_be_told_is_an_error_before_any_work(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("a", PROSE)], "document_key string, text string")
    wrong = FilterSettings(**{**DEFAULTS, "languages": ["en", "english"]})
    with pytest.raises(ConfigError, match="english cannot be told"):
        filter_stage.apply(frame, wrong)


def test_a_missing_language_library_is_one_clear_error(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> frozenset[str]:
        raise language.LanguageLibraryError("telling languages needs py3langid: pip install it")

    monkeypatch.setattr(language, "known_languages", missing)
    frame = spark.createDataFrame([("a", PROSE)], "document_key string, text string")
    with pytest.raises(ConfigError, match="pip install"):
        filter_stage.apply(frame, SETTINGS)
    assert filter_stage.apply(frame, FilterSettings(**{**DEFAULTS, "languages": []})).count() == 1


@pytest.mark.parametrize(
    "change",
    [{"min_words": -1}, {"max_boilerplate": 1.5}, {"ngram_words": 1}, {"languages": "en"}, {"more": 1}],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FilterSettings(**{**DEFAULTS, **change})


def test_a_line_with_bars_is_a_row_in_a_table_only(judged: dict[str, Row]) -> None:
    for name in ("groups", "bars", "bars_in_formulas", "bars_in_code"):
        assert judged[name].metrics["list_lines"] == 0, name
    for name in ("table", "bare_table", "narrow_table", "open_table"):
        assert judged[name].metrics["list_lines"] == 1, name


# The digest of the verdicts on DOCUMENTS by the version of the stage. Another digest means that the
# outcome of the stage changed: then its VERSION must change too, or old verdicts would stand. (Where only
# the defaults in conf/ changed, the new digest is enough: settings are part of the recipe. The language
# is left out: the version of its library is part of the recipe.)
GOLDEN = {3: "57032e591abf570b0e6b5ba481dc71f41e1716796fac1d4a4609b16829bf4951"}


def test_the_outcome_belongs_to_the_version(judged: dict[str, Row]) -> None:
    rows = [
        [
            name,
            [reason for reason in row.reasons if reason != "wrong_language"],
            {name: round(row.metrics.get(name, -1), 6) for name in filter_stage.METRICS[:-1]},
        ]
        for name, row in sorted(judged.items())
    ]
    digest = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    assert GOLDEN[filter_stage.VERSION] == digest


def test_the_language_library_is_part_of_what_a_verdict_depends_on() -> None:
    assert set(filter_stage.library_versions(SETTINGS)) == {"py3langid"}
    none = FilterSettings(**{**DEFAULTS, "languages": []})
    assert filter_stage.library_versions(none) == {}
