"""Templates: what is a placeholder, what is text, and that values are never parsed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.errors import ConfigError
from webscale_rl.llm.template import Literal, Placeholder, parse, render

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PIECES = st.lists(st.one_of(st.text(min_size=1).map(Literal), NAMES.map(Placeholder)), max_size=8)


def as_template(pieces: list[Literal | Placeholder]) -> str:
    return "".join(
        piece.text.replace("{", "{{").replace("}", "}}")
        if isinstance(piece, Literal)
        else f"{{{piece.name}}}"
        for piece in pieces
    )


def test_parse_gives_literals_and_placeholders_in_order() -> None:
    assert parse("Title: {title}\n\n{passage}!") == [
        Literal("Title: "),
        Placeholder("title"),
        Literal("\n\n"),
        Placeholder("passage"),
        Literal("!"),
    ]


def test_parse_makes_doubled_braces_single_and_joins_literals() -> None:
    assert parse('{{"a": {{{answer}}}}}') == [
        Literal('{"a": {'),
        Placeholder("answer"),
        Literal("}}"),
    ]
    assert parse("{{}}") == [Literal("{}")]
    assert parse("") == []


@pytest.mark.parametrize("text", ["{", "}", "{}", "{Name}", "{a b}", "{1a}", "{a", "{a}}", "{ a }"])
def test_parse_refuses_a_lone_brace(text: str) -> None:
    with pytest.raises(ConfigError, match="lone brace") as raised:
        parse(f"first line\n{text}")
    assert "line 2" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_render_needs_every_value_and_ignores_others() -> None:
    assert render("{a}-{b}-{a}", {"a": "1", "b": "2", "c": "3"}) == "1-2-1"
    with pytest.raises(ConfigError, match=r"no value for the placeholder \{b\}"):
        render("{a}{b}", {"a": "1"})


@given(PIECES, st.data())
def test_values_go_in_verbatim(pieces: list[Literal | Placeholder], data: st.DataObject) -> None:
    names = [piece.name for piece in pieces if isinstance(piece, Placeholder)]
    value = st.one_of(st.text(), st.sampled_from(["{passage}", "{{", "}", "{a}", "\\1"]))
    values = {name: data.draw(value) for name in names}
    expected = "".join(piece.text if isinstance(piece, Literal) else values[piece.name] for piece in pieces)
    assert render(as_template(pieces), values) == expected


@given(st.text())
def test_any_text_survives_with_its_braces_doubled(text: str) -> None:
    assert render(as_template([Literal(text)]), {}) == text


@given(st.text(alphabet="{}ab \n"))
def test_parse_gives_pieces_or_one_clear_error(text: str) -> None:
    try:
        pieces = parse(text)
    except ConfigError:
        return
    assert as_template(pieces) == text
    assert (Literal, Literal) not in set(pairwise(type(piece) for piece in pieces))
