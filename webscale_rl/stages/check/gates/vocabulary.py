"""Which words a pair may use: those of its passage, and common ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from webscale_rl.text.normalise import content_words, words
from webscale_rl.text.wordlists import SCAFFOLD_WORDS

_SCAFFOLD_STEMS = frozenset(stem for word in SCAFFOLD_WORDS for stem in content_words(word))


@dataclass(frozen=True)
class _Vocabulary:
    stems: frozenset[str]
    by_start: dict[str, tuple[str, ...]]

    def has(self, word: str) -> bool:
        """Whether the word is there, or one of the same family ("inventor" for "invent")."""
        if word in self.stems:
            return True
        if len(word) < 5 or not word.isalpha():
            return False
        return any(_related(word, other) for other in self.by_start.get(word[:4], ()))


def _related(a: str, b: str) -> bool:
    shortest = min(len(a), len(b))
    common = next((i for i in range(shortest) if a[i] != b[i]), shortest)
    return common >= max(4, shortest - 2) and max(len(a), len(b)) - common <= 5


@lru_cache(maxsize=256)
def _vocabulary(text: str) -> _Vocabulary:
    stems = frozenset(content_words(text)) | frozenset(words(text))
    starts: dict[str, list[str]] = {}
    for stem in sorted(stems):
        if len(stem) >= 4:
            starts.setdefault(stem[:4], []).append(stem)
    return _Vocabulary(stems, {start: tuple(found) for start, found in starts.items()})
