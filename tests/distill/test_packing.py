"""Packed sequences show every example exactly its own tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webscale_rl.distill.examples import Example, read_jsonl, split, write_jsonl
from webscale_rl.distill.packing import Packed, pack, trees
from webscale_rl.errors import ConfigError

END = [0]
texts = st.text("abc", min_size=1, max_size=6)
examples = st.lists(
    st.builds(Example, prompt=texts, reply=texts, document=st.sampled_from(["x", "y", "z"])), min_size=1
)


class Letters:
    """One token a letter."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) for letter in text]


def paths(packed: Packed) -> set[tuple[tuple[int, ...], int]]:
    """For each thing that is predicted: all that is seen for it, in order, and the token."""
    found = set()
    for node, token in zip(packed.predicts, packed.predicted, strict=True):
        seen = [place for place in range(len(packed.tokens)) if packed.sees[node, place]]
        assert [packed.positions[place] for place in seen] == list(range(len(seen)))
        found.add((tuple(int(packed.tokens[place]) for place in seen), int(token)))
    return found


@given(examples, st.integers(16, 60))
def test_every_reply_token_is_predicted_from_its_own_example_alone(given: list[Example], most: int) -> None:
    sequences = pack(list(trees(given, Letters(), END, most)), most)
    assert all(len(sequence.tokens) <= most for sequence in sequences)
    expected = set()
    for example in given:
        prompt, reply = Letters().encode(example.prompt), [*Letters().encode(example.reply), *END]
        for place, token in enumerate(reply):
            expected.add((tuple(prompt + reply[:place]), token))
    assert set().union(*[paths(sequence) for sequence in sequences]) == expected


def test_what_is_shared_is_read_once() -> None:
    given = [Example("aaaabb", "c", "x"), Example("aaaacc", "b", "x"), Example("aaaabb", "c", "y")]
    first, second = trees(given, Letters(), END, 50)
    assert (len(first), len(second)) == (4 + 2 + 2 + 2 + 2, 8)


def test_a_chosen_reply_counts_as_much_as_is_said() -> None:
    given = [Example("a", "b", "x", choices=("b", "c")), Example("d", "ef", "x")]
    (packed,) = pack(list(trees(given, Letters(), END, 50, choice_weight=3.0)), 50)
    counts = dict(zip(packed.predicted.tolist(), packed.weights.tolist(), strict=True))
    assert (counts[ord("b")], counts[ord("e")], counts[ord("f")]) == (3.0, 1.0, 1.0)


def test_an_example_that_is_too_long_is_left_out() -> None:
    given = [Example("a" * 40, "b", "x"), Example("a", "b", "x")]
    (tree,) = trees(given, Letters(), END, 20)
    assert len(tree) == 3


@given(examples, st.floats(0, 1), st.integers(0, 5))
def test_a_document_is_on_one_side_only(given: list[Example], share: float, seed: int) -> None:
    train, held = split(given, share, seed)
    assert len(train) + len(held) == len(given)
    assert not {example.document for example in train} & {example.document for example in held}


def test_examples_survive_a_file(tmp_path: Path) -> None:
    given = [Example("ä\n", " b", "x", "judge", (" b", " c")), Example("p", "r", "y")]
    write_jsonl(tmp_path / "e.jsonl", given)
    assert list(read_jsonl(tmp_path / "e.jsonl")) == given


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: no example"),
        ('{"prompt": "x"}', "KeyError 'reply'"),
        ("[]", "line 2: no example"),
        ('{"prompt": "", "reply": "x"}', "must not be empty"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "e.jsonl").write_text('{"prompt": "a", "reply": "b"}\n' + line + "\n")
    with pytest.raises(ConfigError, match=message):
        list(read_jsonl(tmp_path / "e.jsonl"))
