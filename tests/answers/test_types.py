"""Answer types: what conforms, what a text looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.answers.dates import DateParts, find_dates, is_date
from webscale_rl.answers.quantities import Quantity, find_quantities
from webscale_rl.answers.registry import ANSWER_TYPES, conforms
from webscale_rl.answers.types import detect, first_yes_no, option_of, split_items

CONFORMING = [
    ("number", "343 metres"),
    ("number", "1,200"),
    ("number", "about 8,000 soldiers"),
    ("number", "$5 million"),
    ("number", "seven"),
    ("number", "2/3"),
    ("number", "minus 5 degrees"),
    ("number", "x = 5"),
    ("date", "1202"),
    ("date", "8 May 1980"),
    ("date", "May 8, 1980"),
    ("date", "300 BC"),
    ("date", "the 15th century"),
    ("date", "the 1990s"),
    ("date", "2020-01-31"),
    ("name", "Andrew Wiles"),
    ("name", "IBM"),
    ("name", "Bad Blankenburg"),
    ("name", "北京"),
    ("span", "golden ratio"),
    ("span", "the host always opens a door that hides a goat"),
    ("formula", "E = mc^2"),
    ("formula", "H2O"),
    ("formula", "sin(x)"),
    ("formula", "a − b"),
    ("formula", "NaCl"),
    ("list", "red, green and blue"),
    ("list", "salt and sugar"),
    ("list", "- one\n- two"),
    ("multiple_choice", "B"),
    ("multiple_choice", "B) Paris"),
    ("multiple_choice", "(c) twelve"),
    ("yes_no", "Yes"),
    ("yes_no", "No, because it melts."),
]

NOT_CONFORMING = [
    ("number", "golden ratio"),
    ("number", "8 May 1980"),
    ("number", "Vienna"),
    ("number", "H2O"),
    ("number", "the company said that it sold 40 ships in the year before last"),
    ("date", "343 metres"),
    ("date", "1,200 hours"),
    ("date", "soon"),
    ("date", "15"),
    ("name", "golden ratio"),
    ("name", "1202"),
    ("name", "Yes"),
    ("name", "A long sentence that tells of many things is no name at all here"),
    ("span", ""),
    ("span", "?!"),
    ("span", "word " * 40),
    ("formula", "golden ratio"),
    ("formula", "well-known"),
    ("formula", "and/or"),
    ("list", "red"),
    ("list", "1,200"),
    ("multiple_choice", "Paris"),
    ("multiple_choice", "Apple pie"),
    ("yes_no", "maybe"),
    ("yes_no", "Norway"),
    ("riddle", "anything"),
]


@pytest.mark.parametrize(("answer_type", "answer"), CONFORMING)
def test_answers_that_conform(answer_type: str, answer: str) -> None:
    assert conforms(answer, answer_type)


@pytest.mark.parametrize(("answer_type", "answer"), NOT_CONFORMING)
def test_answers_that_do_not_conform(answer_type: str, answer: str) -> None:
    assert not conforms(answer, answer_type)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("343 metres", "number"),
        ("seven years", "number"),
        ("1,202", "number"),
        ("1202", "date"),
        ("1914-1918", "date"),
        ("December 2004", "date"),
        ("Leonardo of Pisa", "name"),
        ("G. H. Hardy", "name"),
        ("Kenneth Appel and Wolfgang Haken", "name"),
        ("Austin, Texas", "name"),
        ("golden ratio", "span"),
        ("the two tanks balance each other", "span"),
        ("E = mc²", "formula"),
        ("A = 9 * E / I", "formula"),
        ("red, green and blue", "list"),
        ("B) Paris", "multiple_choice"),
        ("yes", "yes_no"),
        ("", "span"),
    ],
)
def test_detect(answer: str, expected: str) -> None:
    assert detect(answer) == expected


@given(st.text())
def test_any_text_has_a_type_and_never_crashes(text: str) -> None:
    assert detect(text) in ANSWER_TYPES.names
    for answer_type in ANSWER_TYPES.names:
        assert conforms(text, answer_type) in (True, False)


def test_options_and_items() -> None:
    assert option_of("(b) Rome") == ("B", "Rome")
    assert option_of("Option C") == ("C", "")
    assert option_of("Apples") == ("", "Apples")
    assert split_items("a cat; a dog, a cow") == ["a cat", "a dog, a cow"]
    assert split_items("1. red\n2. blue") == ["red", "blue"]
    assert split_items("red | green | blue") == split_items("red|green|blue") == ["red", "green", "blue"]
    assert split_items("red (dark) | green") == ["red (dark)", "green"]
    assert split_items("red, green, and blue") == ["red", "green", "blue"]
    assert first_yes_no("True.") is True
    assert first_yes_no("No!") is False
    assert first_yes_no("Nothing") is None


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("red| green| blue", ["red", "green", "blue"]),
        ("red |green |blue", ["red", "green", "blue"]),
        ("| red | green |", ["red", "green"]),
        ("[red | green | blue]", ["red", "green", "blue"]),
        ("a) red | b) green | c) blue", ["red", "green", "blue"]),
        ("H2O|CO2|NaCl", ["H2O", "CO2", "NaCl"]),
        ("1|2|3", ["1", "2", "3"]),
        ("U.S.|U.K.|France", ["U.S", "U.K", "France"]),
        ("C++|Java|Go", ["C++", "Java", "Go"]),
        ("red|green", ["red", "green"]),
        ("a |b", ["a", "b"]),
        ("f(x|y) | g(z)", ["f(x|y)", "g(z)"]),
    ],
)
def test_bars_part_the_items_of_a_list(text: str, items: list[str]) -> None:
    assert split_items(text) == items
    assert conforms(text, "list")


@pytest.mark.parametrize(
    "formula",
    [
        "|G| = [G:H] |H|",
        "2|x|",
        "|x|",
        "|x y| = |x| |y|",
        "a || b",
        "|v|w|",
        "P(A | B)",
        "f({x | x > 0})",
        "a|b",
        "|x |",
        "P(A|B|C)",
    ],
)
def test_bars_of_formulas_and_code_part_no_items(formula: str) -> None:
    assert split_items(formula) == [formula]
    assert not conforms(formula, "list")


def test_a_set_is_no_list_by_its_bar() -> None:
    assert split_items("{x | x > 0}") == ["x | x > 0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24,862,048 digits", [("24862048", "digit")]),
        ("two hundred and five", [("205", "")]),
        ("twenty-five virtual machines", [("25", "virtual machin")]),
        ("one and a half hours", [("1.5", "hour")]),
        ("2½ years", [("2.5", "year")]),
        ("half a million people", [("500000.0", "person")]),
        ("$3.2bn", [("3200000000.0", "dollar")]),
        ("6.022 × 10^23", [("602200000000000000000000", "")]),
        ("10⁻³ m", [("0.001", "metre")]),
        ("20 °C", [("20", "celsius")]),
        ("a 25-hour day", [("25", "hour")]),
        ("the 1990s", [("1990", "")]),
        ("four games to one", [("4", "gam"), ("1", "")]),
        ("no digits here", []),
    ],
)
def test_quantities(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(str(q.value), q.unit) for q in find_quantities(text)] == expected


def test_quantities_know_hedges_and_rates() -> None:
    about, exact = find_quantities("about 8,000 soldiers")[0], find_quantities("60 km/h")[0]
    assert about.approximate
    assert exact == Quantity(exact.value, "kilometre", "hour", approximate=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8 May 1980", DateParts(year=1980, month=5, day=8)),
        ("May 8th, 1980", DateParts(year=1980, month=5, day=8)),
        ("31.01.2020", DateParts(year=2020, month=1, day=31)),
        ("02/28/2020", DateParts(year=2020, month=2, day=28)),
        ("around 300 BCE", DateParts(year=-300)),
        ("the fifteenth century", DateParts(century=15)),
        ("3rd century BC", DateParts(century=-3)),
        ("the 1990s", DateParts(decade=1990)),
        ("spring of 1999", DateParts(year=1999, season="spring")),
        ("in 476", DateParts(year=476)),
        ("on Mondays", DateParts(weekday=0)),
        ("May", DateParts(month=5)),
    ],
)
def test_dates(text: str, expected: DateParts) -> None:
    assert find_dates(text) == [expected]


def test_a_date_with_something_else_is_no_date_alone() -> None:
    assert is_date("from 1914 to 1918")
    assert not is_date("the storm of 1914")
    assert not is_date("1200 hours")
    assert find_dates("it may rain") == []


def test_a_year_meets_its_decade_and_century_only() -> None:
    year = DateParts(year=1994)
    assert year.meets(DateParts(decade=1990))
    assert year.meets(DateParts(century=20))
    assert not year.meets(DateParts(century=19))
    assert not year.meets(DateParts(year=1994, month=5))
    assert DateParts(year=-44).meets(DateParts(century=-1))


@given(st.text())
def test_numbers_and_dates_never_crash(text: str) -> None:
    find_quantities(text)
    find_dates(text)
    is_date(text)
