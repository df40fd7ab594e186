"""What llama.cpp's server answers: a reply, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from udfs.engines.errors import RequestError, TransientError


class Reply:
    """A reply of llama.cpp, chat or raw, with what `verbose` adds to it."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        choice, detail = answer["choices"][0], answer["__verbose"]
        self.text: str = detail["content"]
        self.finish_reason = "stop" if choice["finish_reason"] == "stop" else "length"
        self.tokens: list[dict[str, Any]] = (choice.get("logprobs") or {}).get("content") or []
        self.logit_bias: list[dict[str, Any]] = detail["generation_settings"]["logit_bias"]
        usage = answer["usage"]
        self.usage: dict[str, int] = {
            "prompt_tokens": usage["prompt_tokens"],
            "cached_tokens": (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
            "completion_tokens": usage["completion_tokens"],
        }

    def top(self) -> list[dict[str, Any]]:
        """The likeliest first tokens, with `logprob`, or `prob` where sampling was asked for."""
        first = self.tokens[0] if self.tokens else {}
        return first.get("top_probs") or first.get("top_logprobs") or []

    def scores_of_text(self) -> list[float]:
        """Log-probabilities of the tokens that make the text, without what ended it."""
        length, scores = len(self.text.encode()), []
        for token in self.tokens:
            if length <= 0:
                break
            scores.append(token["logprob"])
            length -= len(token["bytes"])
        return scores


def fault(error: Mapping[str, Any]) -> Exception:
    """The exception for an error reply of llama.cpp."""
    kind, message = error.get("type", ""), str(error.get("message", ""))
    if kind == "exceed_context_size_error":
        return RequestError("prompt_too_long", message)
    if kind in ("invalid_request_error", "not_supported_error") or error.get("code") == 400:
        return RequestError("refused_request", message)
    return TransientError(f"server_error: {message}")
