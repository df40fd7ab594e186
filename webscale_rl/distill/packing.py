"""Examples in, packed sequences out: what is shared is read once.

All examples of one document go into one tree of tokens: a prompt that several examples begin with is one
branch, and their replies part where they differ. Several trees lie behind each other in one sequence. A
token sees its ancestors alone (a *tree mask*, as speculative decoding uses it: Miao et al., SpecInfer, 2023),
and stands at the position that its depth is, so the model computes for every example exactly what it
would alone. Loss is taken on reply tokens only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from webscale_rl.distill.examples import Example


class Tokenizer(Protocol):
    """What is needed of a tokenizer."""

    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]:
        """Token identifiers of a text."""


@dataclass
class Tree:
    """Tokens of examples that share beginnings, parents before children.

    Attributes:
        tokens: one a node.
        parents: index of each node's parent; -1 for a root.
        targets: nodes that are part of a reply, which the parent has to predict, and what each counts.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    targets: dict[int, float] = field(default_factory=dict)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def grow(self, prompt: Sequence[int], reply: Sequence[int]) -> int:
        """How many nodes an example would add."""
        at, known = -1, 0
        for token in (*prompt, *reply):
            at = self._children.get((at, token), -2)
            if at == -2:
                break
            known += 1
        return len(prompt) + len(reply) - known

    def add(self, prompt: Sequence[int], reply: Sequence[int], weight: float = 1.0) -> None:
        """Put an example in, whose reply's tokens count `weight` each."""
        at = -1
        for place, token in enumerate((*prompt, *reply)):
            node = self._children.get((at, token))
            if node is None:
                node = len(self.tokens)
                self._children[at, token] = node
                self.tokens.append(token)
                self.parents.append(at)
            if place >= len(prompt):
                self.targets[node] = max(weight, self.targets.get(node, 0.0))
            at = node


@dataclass(frozen=True)
class Packed:
    """One sequence for the model.

    Attributes:
        tokens, positions: int64 arrays of the length L.
        sees: bool array (L, L); row i has the tokens that i attends to.
        predicts: int64 array of nodes that have to predict something, and
        predicted: the token that each of them has to.
        weights: float32 array: what each of these counts.
    """

    tokens: np.ndarray[Any, Any]
    positions: np.ndarray[Any, Any]
    sees: np.ndarray[Any, Any]
    predicts: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    weights: np.ndarray[Any, Any]


def trees(
    examples: Iterable[Example],
    tokenizer: Tokenizer,
    end: Sequence[int],
    max_tokens: int,
    choice_weight: float = 1.0,
) -> Iterator[Tree]:
    """The examples of each document as trees of at most `max_tokens` nodes.

    Args:
        end: tokens behind every reply, which teach the model to stop.
        choice_weight: what a token of a chosen reply counts beside one of a written reply.

    An example that is longer than `max_tokens` is left out.
    """
    by_document: dict[str, list[Example]] = {}
    for example in examples:
        by_document.setdefault(example.document, []).append(example)
    for group in by_document.values():
        tree = Tree()
        for example in sorted(group, key=lambda one: (one.prompt, one.reply)):
            prompt = tokenizer.encode(example.prompt, add_special_tokens=False)
            reply = [*tokenizer.encode(example.reply, add_special_tokens=False), *end]
            if len(prompt) + len(reply) > max_tokens:
                continue
            if len(tree) and len(tree) + tree.grow(prompt, reply) > max_tokens:
                yield tree
                tree = Tree()
            tree.add(prompt, reply, choice_weight if example.choices else 1.0)
        if len(tree):
            yield tree


def pack(trees: Sequence[Tree], max_tokens: int) -> list[Packed]:
    """Trees side by side in sequences of at most `max_tokens`, in the given order."""
    sequences: list[list[Tree]] = []
    room = 0
    for tree in trees:
        if not sequences or len(tree) > room:
            sequences.append([])
            room = max_tokens
        sequences[-1].append(tree)
        room -= len(tree)
    return [_packed(sequence) for sequence in sequences]


def _packed(sequence: Sequence[Tree]) -> Packed:
    length = sum(map(len, sequence))
    sees = np.zeros((length, length), dtype=bool)
    positions = np.zeros(length, dtype=np.int64)
    tokens: list[int] = []
    predicts: list[int] = []
    predicted: list[int] = []
    weights: list[float] = []
    for tree in sequence:
        start = len(tokens)
        tokens += tree.tokens
        for node, parent in enumerate(tree.parents):
            here = start + node
            if parent >= 0:
                sees[here] = sees[start + parent]
                positions[here] = positions[start + parent] + 1
            sees[here, here] = True
            if node in tree.targets and parent >= 0:
                predicts.append(start + parent)
                predicted.append(tree.tokens[node])
                weights.append(tree.targets[node])
    return Packed(
        np.array(tokens, dtype=np.int64),
        positions,
        sees,
        np.array(predicts, dtype=np.int64),
        np.array(predicted, dtype=np.int64),
        np.array(weights, dtype=np.float32),
    )
