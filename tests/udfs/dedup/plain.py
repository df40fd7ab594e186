"""The definitions of near-duplicate removal read plainly in Python, to hold the kernels against."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import combinations

from webscale_rl.text.language import UNSPACED_SCRIPTS

_UNSPACED = re.compile(f"[{UNSPACED_SCRIPTS}]")


def tokens(text: str) -> list[str]:
    """Lower-case runs of letters, digits and marks; each character of scripts without spaces by itself."""
    found, running = [], ""
    for character in text:
        ideograph = 0x20000 <= ord(character) < 0x40000
        known = ord(character) < 0x20000
        word = known and (character.isalnum() or unicodedata.category(character)[0] == "M")
        if ideograph or (word and _UNSPACED.match(character)):
            found += [running, character]
            running = ""
        elif word:
            lower = character.lower()
            running += lower if len(lower) == 1 else character
        else:
            found.append(running)
            running = ""
    return [token for token in [*found, running] if token]


def shingles(text: str, size: int) -> set[tuple[str, ...]]:
    """Every run of ``size`` tokens."""
    words = tokens(text)
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    """Common over all; 0 for two empty sets, which have nothing in common."""
    return len(a & b) / len(a | b) if a or b else 0.0


def minima(shingle_hashes: Iterable[int], multipliers: Iterable[int], addends: Iterable[int]) -> list[int]:
    """The smallest value of each permutation over the upper halves of the hashes."""
    short = [value >> 32 for value in shingle_hashes]
    return [
        min((multiplier * value + addend) % 2**32 for value in short)
        for multiplier, addend in zip(multipliers, addends, strict=True)
    ]


def components(pairs: Iterable[tuple[str, str]], nodes: Iterable[str]) -> list[set[str]]:
    """The connected components of a graph, by a search from each node."""
    neighbours: dict[str, set[str]] = {node: set() for node in nodes}
    for a, b in pairs:
        neighbours[a].add(b)
        neighbours[b].add(a)
    found, seen = [], set()
    for node in neighbours:
        if node in seen:
            continue
        component, waiting = set(), [node]
        while waiting:
            at = waiting.pop()
            if at not in component:
                component.add(at)
                waiting += neighbours[at]
        seen |= component
        found.append(component)
    return found


def similar_pairs(texts: dict[str, str], size: int, threshold: float) -> Iterator[tuple[str, str, float]]:
    """All pairs at or above the threshold, by comparing everything with everything."""
    sets = {key: shingles(text, size) for key, text in texts.items()}
    for a, b in combinations(sorted(texts), 2):
        similarity = jaccard(sets[a], sets[b])
        if similarity >= threshold:
            yield a, b, similarity
