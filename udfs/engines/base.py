"""What an engine is made of, for those who write one: `Engine`, requests, completions, errors.

A request is one canonical JSON text with its hash as identifier, a completion one flat row (completion.py).
"""

from __future__ import annotations

import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from udfs.engines.completion import (
    COMPLETION_DDL,
    COMPLETION_SCHEMA,
    Completion,
    Fault,
    clean,
    completions_batch,
)
from udfs.engines.errors import (
    EngineDied,
    EngineError,
    MissingExtraError,
    ModelMissingError,
    OptionsError,
    RequestError,
    TransientError,
)
from udfs.engines.options import EngineOptions, refuse_unknown
from udfs.engines.schemas import in_asked_order, schema_problem, schema_violation

__all__ = [
    "COMPLETION_DDL",
    "COMPLETION_SCHEMA",
    "Completion",
    "Engine",
    "EngineDied",
    "EngineError",
    "EngineOptions",
    "Fault",
    "Message",
    "MissingExtraError",
    "ModelMissingError",
    "OptionsError",
    "Request",
    "RequestError",
    "Sampling",
    "TransientError",
    "check_adapter",
    "clean",
    "completions_batch",
    "logprob_summary",
    "private_folder",
    "refuse_unknown",
    "schema_violation",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 takes the likeliest token each time."""

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One call to a model, read from its canonical JSON."""

    request_id: str
    messages: tuple[Message, ...]
    prompt_format: Literal["chat", "raw"]
    sampling: Sampling
    response_schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    sample: int = 0
    adapter: str | None = None

    @classmethod
    def parse(cls, request_id: str, text: str | None) -> Request:
        """Read a request.

        Raises:
            RequestError: the text is no request, or its prompt is empty.
        """
        try:
            raw = json.loads(text or "")
            messages = tuple(
                Message(role=str(item["role"]), content=clean(item["content"])) for item in raw["messages"]
            )
            given = dict(raw.get("sampling") or {})
            given["stop"] = tuple(clean(stop) for stop in given.get("stop") or ())
            sampling = Sampling(**given)
            prompt_format = raw["prompt_format"]
            choices = raw.get("choices")
            schema = in_asked_order(raw.get("response_schema"))
            request = cls(
                request_id=request_id,
                messages=messages,
                prompt_format=prompt_format,
                sampling=sampling,
                response_schema=schema,
                choices=None if choices is None else tuple(clean(choice) for choice in choices),
                sample=int(raw.get("sample") or 0),
                adapter=raw.get("adapter"),
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RequestError("bad_request", f"{type(error).__name__} {error}") from error
        request.check()
        return request

    def check(self) -> None:
        """Refuse what no engine can serve.

        Raises:
            RequestError: bad_request, empty_prompt or refused_schema.
        """
        if self.prompt_format not in ("chat", "raw"):
            raise RequestError("bad_request", f"unknown prompt_format {self.prompt_format!r}")
        roles = {message.role for message in self.messages} - {"system", "user", "assistant"}
        if roles:
            raise RequestError("bad_request", f"unknown role {sorted(roles)[0]!r}")
        if not any(message.content.strip() for message in self.messages):
            raise RequestError("empty_prompt", "the messages have no text")
        if self.sampling.max_tokens < 1:
            raise RequestError("bad_request", "max_tokens must be at least 1")
        if self.choices is not None and (not self.choices or not all(self.choices)):
            raise RequestError("bad_request", "choices must be texts of at least one character")
        if self.choices is not None and self.response_schema is not None:
            raise RequestError("bad_request", "choices and response_schema exclude each other")
        if self.response_schema is not None:
            problem = schema_problem(json.dumps(self.response_schema, sort_keys=True))
            if problem:
                raise RequestError("refused_schema", problem)

    def raw_prompt(self) -> str:
        """The prompt of a raw request: the contents of the messages with blank lines between."""
        return "\n\n".join(message.content for message in self.messages)


class Engine(ABC):
    """One model, ready to answer. Made once per worker process and kept."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any]) -> None:
        """Load the model; raises EngineError."""

    @abstractmethod
    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request, in any order, several in flight.

        Raises:
            EngineDied: the engine can serve no further request.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model."""

    @classmethod
    @abstractmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the replies depend on: engine, model, template, dtype. Cheap, for the driver.

        Raises:
            EngineError: a package or the model is missing, or an option is wrong.
        """

    @classmethod
    def legacy_identities(cls, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Other identities that earlier versions gave to the same model, the latest first.

        A warehouse that knows one of them, and not the present one, goes on with it: nothing is asked again.

        Raises:
            EngineError: as for `identity`.
        """
        return []

    @classmethod
    def gpus(cls, options: Mapping[str, Any]) -> int:
        """GPUs that one engine needs, going by its options."""
        return 0

    @classmethod
    def decides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """What of its options decides whether a request can be answered at all, as plain data.

        A permanent fault that these facts can mend remembers them, and its request is asked again once they
        change. They are no part of the identity: replies do not depend on them. Names that faults know:
        context, max_model_len, endpoint, schemas, response_format, structured_outputs, package, adapter
        (`webscale_rl.runtime.passes.decided`).

        Raises:
            EngineError: an option is wrong.
        """
        return {}

    @classmethod
    def trial(cls, options: Mapping[str, Any]) -> str:
        """Look further than `identity` whether it would work here, within seconds and at no cost.

        Returns:
            What was found, in a few words; nothing where there is nothing to look at.

        Raises:
            EngineError: it would not work; the message says what to do.
        """
        return ""


def private_folder(error: type[EngineError]) -> Path:
    """This user's own folder among the machine's temporary ones, made where it is missing.

    Raises:
        error: somebody else has taken its name.
    """
    folder = Path(tempfile.gettempdir()) / f"webscale-rl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise error(f"{folder} belongs to another user: set TMPDIR to your own folder")
    return folder


def check_adapter(request: Request, adapter: str | None) -> None:
    """Refuse a request that was made for another adapter than the engine has.

    Raises:
        RequestError: refused_adapter.
    """
    if request.adapter != adapter:
        has = "was given no adapter" if adapter is None else f"has the adapter {adapter[:12]}"
        raise RequestError("refused_adapter", f"this engine {has}")


def logprob_summary(scores: Sequence[float]) -> dict[str, Any]:
    """Mean and lowest of token log-probabilities, as `Completion` has them; None where there are none."""
    return {
        "mean_logprob": sum(scores) / len(scores) if scores else None,
        "min_logprob": min(scores) if scores else None,
    }
