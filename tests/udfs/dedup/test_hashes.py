"""The compiled kernels against the definitions read plainly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.udfs.dedup import plain
from udfs.dedup import hashes, pairing
from udfs.dedup.characters import character_table
from udfs.dedup.columns import utf8_bytes

# Every kind of script and symbol that the table tells apart, more often than chance would have it.
CHARACTERS = st.one_of(
    st.sampled_from("abz AZ09_-.,\n\t"),
    st.sampled_from("ÄéßİſÅñŐΣσςЖжا日本語ひカｶไทย한국नमस्ते\u0301\u0327"),
    st.sampled_from("👩‍🚀🎉\U00020000\U0003134e\U0003ffff\U000e0100\U00010400\U0001d400\u2009\u3000€"),
    st.characters(exclude_categories=["Cs"]),
)
TEXT = st.text(CHARACTERS, max_size=60)
HYPOTHESIS = settings(max_examples=300, deadline=None)


def flat(*texts: bytes) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(b"".join(texts), dtype=np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)


def hashed(text: bytes) -> list[int]:
    data, offsets = flat(text)
    out = np.empty(len(text) // 2 + 1, dtype=np.uint64)
    count = hashes.token_hashes(data, offsets[0], offsets[1], character_table(), out)
    return [int(value) for value in out[:count]]


def test_the_hash_of_a_token_is_its_own() -> None:
    words = [f"w{n}" for n in range(20_000)] + [chr(0x4E00 + n) for n in range(10_000)]
    assert len(set(hashed(" ".join(words).encode()))) == len(words)


@HYPOTHESIS
@given(TEXT)
def test_tokens_are_those_of_the_definition(text: str) -> None:
    wanted = [hashed(token.encode()) for token in plain.tokens(text)]
    assert all(len(found) == 1 for found in wanted)
    assert hashed(text.encode()) == [found[0] for found in wanted]


@HYPOTHESIS
@given(st.binary(max_size=40), st.binary(max_size=6))
def test_bytes_that_are_no_utf8_separate(first: bytes, last: bytes) -> None:
    data = first + "é 日".encode() + last
    assert hashed(data) == hashed(data.decode(errors="replace").encode())


@HYPOTHESIS
@given(st.lists(TEXT, min_size=2, max_size=5), st.integers(1, 4))
def test_similarity_is_exact(texts: list[str], size: int) -> None:
    sets, bounds = hashes.shingle_sets(*flat(*[t.encode() for t in texts]), character_table(), size)
    plainly = [plain.shingles(text, size) for text in texts]
    assert np.diff(bounds).tolist() == [len(found) for found in plainly]
    left, right = np.array([0] * (len(texts) - 1)), np.arange(1, len(texts))
    for least in (0.0, 0.5, 1.0):
        found = hashes.jaccard(sets, bounds, left, right, least)
        for similarity, other in zip(found, plainly[1:], strict=True):
            exact = plain.jaccard(plainly[0], other)
            empty = not plainly[0] or not other
            assert similarity == (exact if exact >= least and not empty else -1.0)


@pytest.mark.parametrize(("common", "own"), [(8, 1), (4, 1), (80, 10), (799, 100), (800, 100)])
def test_the_threshold_itself_is_similar_enough(common: int, own: int) -> None:
    # 8 of 10, 80 of 100 and 800 of 1000 are exactly 0.8 in floating point; 4 of 6 and 799 of 999 are less.
    sets = np.array([*range(common), *range(1000, 1000 + own), *range(common), *range(2000, 2000 + own)])
    sets = sets.astype(np.uint64)
    bounds = np.array([0, common + own, 2 * (common + own)])
    (found,) = hashes.jaccard(sets, bounds, np.array([0]), np.array([1]), 0.8)
    exact = common / (common + 2 * own)
    assert found == (exact if exact >= 0.8 else -1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 3))
def test_band_keys_come_from_the_minima_of_the_permutations(texts: list[str], size: int) -> None:
    bands, rows = 6, 3
    multipliers, addends = hashes.permutations(bands * rows)
    assert all(multiplier % 2 for multiplier in multipliers)
    table = character_table()
    data, offsets = flat(*[text.encode() for text in texts])
    keys, has = hashes.band_hashes(data, offsets, table, size, multipliers, addends, bands, rows)
    sets, bounds = hashes.shingle_sets(data, offsets, table, size)
    signatures: dict[tuple[int, tuple[int, ...]], int] = {}
    for document in range(len(texts)):
        own = [int(value) for value in sets[bounds[document] : bounds[document + 1]]]
        assert has[document] == bool(own)
        if not own:
            continue
        found = plain.minima(own, map(int, multipliers), map(int, addends))
        for band in range(bands):
            # Equal minima give equal keys, others another one.
            part = tuple(found[band * rows : (band + 1) * rows])
            key = int(keys[document, band])
            assert signatures.setdefault((band, part), key) == key
    assert len({(band, key) for (band, _), key in signatures.items()}) == len(signatures)


def test_the_permutations_stay_what_they_are() -> None:
    # Keys in an index were made with them.
    multipliers, addends = hashes.permutations(200)
    assert (int(multipliers[0]), int(addends[0])) == (166854045, 66103732)
    assert len(set(multipliers.tolist())) == len(set(addends.tolist())) == 200


def test_estimates_follow_the_similarity() -> None:
    random = np.random.default_rng(3)
    rows = 200
    multipliers, addends = hashes.permutations(rows)
    # Texts of single-token shingles: 60 in common of 100.
    agree = 0
    for _ in range(40):
        words = [f"x{n}" for n in random.choice(10**9, 140, replace=False)]
        pair = [" ".join(words[:100]).encode(), " ".join(words[40:]).encode()]
        keys, _ = hashes.band_hashes(*flat(*pair), character_table(), 1, multipliers, addends, rows, 1)
        agree += int((keys[0] == keys[1]).sum())
    similarity = 60 / 140
    deviation = (similarity * (1 - similarity) / (40 * rows)) ** 0.5
    assert abs(agree / (40 * rows) - similarity) < 4 * deviation


@HYPOTHESIS
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 30), st.booleans()), max_size=40, unique_by=lambda r: r[1]
    ),
    st.integers(2, 6),
)
def test_a_small_bucket_gives_all_its_pairs_and_a_large_one_few(
    rows: list[tuple[int, int, bool]], largest: int
) -> None:
    rows = sorted(rows, key=lambda row: (row[0], row[2], row[1]))
    keys = np.array([row[0] for row in rows], dtype=np.uint32)
    ids = np.array([row[1] for row in rows], dtype=np.int64)
    fresh = np.array([row[2] for row in rows], dtype=np.bool_)
    pairs, buckets, biggest = pairing.bucket_pairs(keys, ids, fresh, largest, 2)
    found = {frozenset(map(int, pair)) for pair in pairs}
    assert len(found) == len(pairs)
    sizes = []
    for key in range(4):
        members = [row for row in rows if row[0] == key]
        sizes.append(len(members))
        everything = {
            frozenset((a[1], b[1])) for a in members for b in members if a[1] != b[1] and (a[2] or b[2])
        }
        own = {pair for pair in found if pair <= {row[1] for row in members}}
        assert own <= everything
        if len(members) <= largest:
            assert own == everything
        else:
            assert len(own) <= 3 * len(members)
            # Every fresh document is compared with the first one.
            first = members[0][1]
            assert all(frozenset((first, m[1])) in own for m in members[1:] if m[2])
    assert buckets == sum(size > 1 for size in sizes)
    assert biggest == max([size for size in sizes if size > 1], default=0)


@HYPOTHESIS
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=20))
def test_components_are_labelled_by_their_smallest_node(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    roots = pairing.components(left, right, 13)
    named = [(f"{a:02}", f"{b:02}") for a, b in pairs]
    for component in plain.components(named, [f"{n:02}" for n in range(13)]):
        assert {int(roots[int(node)]) for node in component} == {min(map(int, component))}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_slices_and_nulls_of_a_column_are_read_right(kind: pa.DataType) -> None:
    column = pa.array(["drop", "ab", None, "", "c"], type=kind)[1:]
    data, offsets = utf8_bytes(column)
    read = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
    assert read == ["ab", "", "", "c"]
    assert utf8_bytes(pa.array([], type=kind))[1].tolist() == [0]


def test_a_text_of_ten_megabytes() -> None:
    text = ("word " * 9 + "日本語" + "é" * 5 + " ").encode() * 170_000
    assert len(text) > 10_000_000
    sets, _ = hashes.shingle_sets(*flat(text), character_table(), 5)
    assert len(sets) == len(plain.shingles(text[:1000].decode(errors="ignore"), 5))
