"""Choices scored as continuations of a prompt by the embedded model."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from udfs.engines.base import Request
from udfs.engines.errors import RequestError, TransientError
from udfs.engines.llamacpp.reply import Reply

# Added to the logits of the choices of one token, to lift them above all others.
_LIFT = 60.0

# Choices whose tokens are remembered: domain words come again with every document, spans do not.
_MAX_REMEMBERED = 20_000


class Choices:
    """Finds the best of a request's choices.

    Args:
        call: one call to llama.cpp: request, most tokens, likeliest first tokens to list, fields of the call.
    """

    def __init__(self, call: Callable[..., Reply]) -> None:
        self._call = call
        self._tokens: dict[str, tuple[int, ...]] = {}

    def choose(self, request: Request) -> dict[str, Any]:
        """Score every choice as the continuation of the prompt; the text is the best one.

        The prompt is read once. Choices of one token are then compared in one step, whatever their
        number; each other choice is forced token by token behind the cached prompt.
        """
        choices = list(dict.fromkeys(request.choices or ()))
        tokens = {choice: self._tokens[choice] for choice in choices if choice in self._tokens}
        unknown = [choice for choice in choices if choice not in tokens]
        # The server has no call for its tokenizer, but repeats which tokens a bias went to.
        bias = [[choice, index + 1] for index, choice in enumerate(unknown)]
        first = self._call(request, 1, logit_bias=bias)
        for index, choice in enumerate(unknown):
            tokens[choice] = tuple(t["token"] for t in first.logit_bias if t["bias"] == index + 1)
        if len(self._tokens) > _MAX_REMEMBERED:
            self._tokens = {}
        self._tokens.update(tokens)
        singles = self._score_singles(request, [t[0] for t in tokens.values() if len(t) == 1])
        scores = {
            choice: [singles[found[0]]]
            if len(found) == 1 and found[0] in singles
            else self._score(request, choice, found)
            for choice, found in tokens.items()
        }
        means = {choice: sum(found) / len(found) for choice, found in scores.items()}
        best = max(choices, key=lambda choice: means[choice])
        return {
            "text": best,
            "finish_reason": "stop",
            "mean_logprob": means[best],
            "min_logprob": min(scores[best]),
            "choice_logprobs": [means[choice] for choice in request.choices or ()],
            **first.usage,
            "completion_tokens": sum(map(len, scores.values())),
        }

    def _score_singles(self, request: Request, tokens: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of single tokens as the next one, in two steps for any number of them.

        The same large bias on each lifts them above the rest of the vocabulary, so that a short
        list of the likeliest holds them all, in their true proportions; scoring the best one
        without the bias gives the scale. (Listing the whole vocabulary takes half a second.)
        """
        if len(tokens) < 3:
            return {}
        bias = [[token, _LIFT] for token in tokens]
        plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        lifted = self._call(request, 1, len(tokens), logit_bias=bias, post_sampling_probs=True, **plain)
        shares = {item["id"]: item["prob"] for item in lifted.top() if item["prob"] > 0}
        shares = {token: shares[token] for token in tokens if token in shares}
        if not shares:
            return {}
        best = max(shares, key=lambda token: (shares[token], -token))
        reply = self._call(request, 1, grammar=f"root ::= <[{best}]>")
        if [item["id"] for item in reply.tokens] != [best]:
            return {}
        scale = reply.tokens[0]["logprob"] - math.log(shares[best])
        return {token: math.log(share) + scale for token, share in shares.items()}

    def _score(self, request: Request, choice: str, tokens: Sequence[int]) -> list[float]:
        """The log-probability of each token of a choice behind the prompt."""
        if not tokens:
            raise RequestError("bad_request", "a choice has no tokens")
        grammar = " ".join(f"<[{token}]>" for token in tokens)
        with contextlib.suppress(TransientError):  # llama.cpp fails on tokens that end inside a character
            reply = self._call(request, len(tokens), grammar=f"root ::= {grammar}")
            if [item["id"] for item in reply.tokens] == list(tokens):
                return [item["logprob"] for item in reply.tokens]
        # So such a choice (rare scripts, emoji) is forced by its characters, in whatever tokens the
        # model likes best for them.
        grammar = json.dumps(choice, ensure_ascii=False)
        reply = self._call(request, 4 * len(choice.encode()), grammar=f"root ::= {grammar}")
        scores = reply.scores_of_text()
        if reply.text != choice or not scores:
            raise RequestError("choice_not_scored", f"the model cannot be made to write {choice!r}")
        return scores
