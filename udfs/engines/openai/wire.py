"""What goes over the wire to an OpenAI-compatible endpoint, and what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from udfs.engines.base import Request, logprob_summary
from udfs.engines.errors import RequestError

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n\s*```\s*\Z", re.S)


def messages(request: Request, schema: Mapping[str, Any] | None, form: str) -> list[dict[str, str]]:
    """The messages of a chat request, with words that ask for JSON where no field of it does."""
    sent = [{"role": message.role, "content": message.content} for message in request.messages]
    if schema is not None and form != "json_schema":
        sent[-1]["content"] += (
            "\n\nReply with one JSON object and nothing else. It must be valid under this JSON schema:\n"
            + json.dumps(schema, ensure_ascii=False)
        )
    return sent


def response_format(schema: Mapping[str, Any] | None, form: str) -> dict[str, Any]:
    """The field response_format of a request, by itself; nothing where words ask for JSON."""
    if schema is None or form == "prompt":
        return {}
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    described = {"name": "reply", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def choice_schema(request: Request) -> dict[str, Any]:
    """Choices as an object's one field: an endpoint cannot be made to score them."""
    return {
        "type": "object",
        "properties": {"choice": {"type": "string", "enum": list(dict.fromkeys(request.choices or ()))}},
        "required": ["choice"],
        "additionalProperties": False,
    }


def unfenced(text: str) -> str:
    """A reply without the Markdown fence around it."""
    fenced = _FENCE.match(text)
    return fenced[1] if fenced else text


def after_thought(text: str) -> str:
    """A reply without the thought that a model has put before it."""
    return text.rpartition("</think>")[2] if text.lstrip().startswith("<think>") else text


def chosen(text: str, choices: Iterable[str]) -> str:
    """The choice in a reply.

    Raises:
        RequestError: there is none.
    """
    try:
        choice = json.loads(text)["choice"]
    except (ValueError, TypeError, KeyError, RecursionError):
        choice = None
    if choice not in choices:
        raise RequestError("choice_not_made", f"the reply is none of the choices: {text[:100]!r}")
    return str(choice)


def read(reply: Any, raw: bool) -> dict[str, Any]:
    """Text, finish reason, log-probabilities and usage of a reply.

    Raises:
        RequestError: the model or its server withheld the reply.
        AttributeError, TypeError, IndexError, ValueError: it is not of the form that replies have.
    """
    choice = reply.choices[0]
    text = choice.text if raw else choice.message.content
    refusal = None if raw else getattr(choice.message, "refusal", None)
    if refusal:
        raise RequestError("refused_by_model", str(refusal))
    if choice.finish_reason == "content_filter":
        raise RequestError("content_filter", "the endpoint withheld the reply")
    if text is not None and not isinstance(text, str):
        raise TypeError("the content is no text")
    found = getattr(choice, "logprobs", None)
    listed = getattr(found, "token_logprobs", None) if raw else getattr(found, "content", None)
    scores = [float(item if raw else item.logprob) for item in listed or [] if item is not None]
    usage = reply.usage
    details = getattr(usage, "prompt_tokens_details", None)
    return {
        "text": text or "",
        "finish_reason": "length" if choice.finish_reason == "length" else "stop",
        **logprob_summary(scores),
        "prompt_tokens": int(getattr(usage, "prompt_tokens", None) or 0),
        "cached_tokens": int(getattr(details, "cached_tokens", None) or 0),
        "completion_tokens": int(getattr(usage, "completion_tokens", None) or 0),
    }


def said(error: Any) -> str:
    """What the server said, short."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        said = inner.get("message") if isinstance(inner, Mapping) else inner
        if said:
            return " ".join(str(said).split())[:300]
    return " ".join(str(error.message).split())[:300]


def cause(error: BaseException) -> str:
    """What is behind a fault of the client."""
    return f"{error.__cause__ or error}" or type(error.__cause__ or error).__name__


def hidden(text: str, key: str | None) -> str:
    """A text without the key, should a server repeat it."""
    return text.replace(key, "***") if key else text
