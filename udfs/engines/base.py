"""What every engine shares: requests, completions, errors, and their Arrow form.

A request is one canonical JSON text with its hash as identifier; a completion is one flat row. What
goes wrong with one request is data in its row (`fault`, `error`), never an exception: an exception
ends the Python worker and the engine in it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

Fault = Literal["lasting", "passing"]

COMPLETION_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("fault", pa.string()),
        ("error", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("cached_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("mean_logprob", pa.float64()),
        ("min_logprob", pa.float64()),
        ("choice_logprobs", pa.list_(pa.float64())),
        ("seconds", pa.float64()),
        ("load_seconds", pa.float64()),
    ]
)

# The same as a Spark schema, for `mapInArrow(function, COMPLETION_DDL)`.
COMPLETION_DDL = (
    "request_id string, text string, finish_reason string, fault string, error string, "
    "prompt_tokens int, cached_tokens int, completion_tokens int, mean_logprob double, "
    "min_logprob double, choice_logprobs array<double>, seconds double, load_seconds double"
)


class EngineError(Exception):
    """Root of what engines raise; the message is one line that says what to do."""


class MissingExtraError(EngineError):
    """The package behind an engine is not installed."""


class ModelMissingError(EngineError):
    """The model file is not there or is not a model file."""


class OptionsError(EngineError):
    """An engine option is unknown or out of range."""


class EngineDied(EngineError):
    """The engine cannot answer any more; the task has to end."""


class RequestError(Exception):
    """One request cannot be served and never will be; becomes a lasting fault of its row."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")


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


@dataclass(frozen=True, slots=True)
class Completion:
    """One outcome. Log-probabilities are natural logarithms, of the model before any sampling.

    `load_seconds` stands in a task's first completion: how long its engine took to load, 0 if it was up.
    """

    request_id: str
    text: str | None = None
    finish_reason: Literal["stop", "length", "error"] = "stop"
    fault: Fault | None = None
    error: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    mean_logprob: float | None = None
    min_logprob: float | None = None
    choice_logprobs: Sequence[float] | None = field(default=None)
    seconds: float = 0.0
    load_seconds: float | None = None

    @classmethod
    def failed(cls, request_id: str, fault: Fault, error: str, seconds: float = 0.0) -> Completion:
        """A row that says what went wrong; `error` is 'short_name: message'."""
        return cls(
            request_id,
            finish_reason="error",
            fault=fault,
            error=clean(" ".join(error.split()))[:500],
            seconds=seconds,
        )


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
    def gpus(cls, options: Mapping[str, Any]) -> int:
        """GPUs that one engine needs, going by its options."""
        return 0

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
        raise error(f"{folder} belongs to somebody else: set TMPDIR to a folder of your own")
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


def in_asked_order(schema: Any) -> Any:
    """A schema with its properties in the order of `required`.

    Canonical JSON sorts keys, and decoders write fields in the order of `properties`: without this a
    model would write its verdict before its reason, and its answer before its question.
    """
    if isinstance(schema, list):
        return [in_asked_order(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = {key: in_asked_order(part) for key, part in schema.items()}
    properties = ordered.get("properties")
    required = ordered.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        first = [name for name in required if name in properties]
        rest = [name for name in properties if name not in first]
        ordered["properties"] = {name: properties[name] for name in (*first, *rest)}
    return ordered


def clean(text: str) -> str:
    """The text without lone surrogates, which no tokenizer takes (U+FFFD stands in their place)."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


_SURROGATE = re.compile("[\ud800-\udfff]")

# Keywords that constrained decoding enforces. Others would be ignored without a word, so they are
# refused; `oneOf` is among the refused because decoders take it for `anyOf`.
_ENFORCED = frozenset(
    {
        *("$defs", "definitions", "$ref", "$schema", "$id", "$comment"),
        *("title", "description", "default", "examples"),
        *("type", "enum", "const", "anyOf", "allOf"),
        *("properties", "required", "additionalProperties"),
        *("items", "prefixItems", "minItems", "maxItems"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_FORMATS = frozenset(
    {"date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
_UNSUPPORTED_PATTERN = re.compile(r"\(\?|\\[1-9bB]")


@lru_cache(maxsize=256)
def schema_problem(schema_json: str) -> str | None:
    """Why a JSON schema cannot be enforced while decoding; None when it can."""
    import jsonschema

    try:
        schema = json.loads(schema_json)
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return f"not a JSON schema: {error.message}"
    except RecursionError:
        return "nested too deeply"
    return _not_enforced(schema, schema)


def _not_enforced(schema: Any, root: Any) -> str | None:
    """The first part of a valid schema that decoding would ignore."""
    if schema is True:
        return None
    if schema is False:
        return "the schema 'false' allows nothing"
    unknown = sorted(set(schema) - _ENFORCED)
    if unknown:
        return f"keyword {unknown[0]!r} cannot be enforced while decoding"
    reference = schema.get("$ref")
    if reference is not None and not _resolves(reference, root):
        return f"reference {reference!r} does not lead inside the schema"
    if "format" in schema and schema["format"] not in _FORMATS:
        return f"unknown format {schema['format']!r}"
    if _UNSUPPORTED_PATTERN.search(schema.get("pattern", "")):
        return f"pattern {schema['pattern']!r} needs look-around or back-references"
    parts: list[Any] = []
    for keyword in ("$defs", "definitions", "properties"):
        parts.extend(schema.get(keyword, {}).values())
    for keyword in ("anyOf", "allOf", "prefixItems"):
        parts.extend(schema.get(keyword, []))
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            parts.append(schema[keyword])
    return next((problem for part in parts if (problem := _not_enforced(part, root))), None)


def _resolves(reference: str, root: Any) -> bool:
    """Whether a JSON pointer inside the schema leads to something."""
    if not reference.startswith("#"):
        return False
    node = root
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or step not in node:
            return False
        node = node[step]
    return isinstance(node, dict | bool)


def schema_violation(text: str, schema: Mapping[str, Any]) -> str | None:
    """How a finished reply breaks its schema; None when it does not."""
    import jsonschema

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(value):
        return str(problem.message)
    return None


def completions_batch(completions: Sequence[Completion]) -> pa.RecordBatch:
    """Completions as one Arrow batch of COMPLETION_SCHEMA."""
    return pa.RecordBatch.from_pylist([asdict(item) for item in completions], schema=COMPLETION_SCHEMA)


def option(
    options: Mapping[str, Any],
    name: str,
    default: Any,
    kind: type,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """One checked option; None and a missing key give the default.

    Raises:
        OptionsError: wrong type or out of range.
    """
    value = options.get(name)
    if value is None:
        return default
    wrong_type = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong_type or (low is not None and value < low) or (high is not None and value > high):
        limits = f"{'' if low is None else f' >= {low}'}{'' if high is None else f' <= {high}'}"
        raise OptionsError(f"engine option {name} is {value!r}: must be {kind.__name__}{limits}")
    return value


def refuse_unknown(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Name the first unknown option, with the nearest known one.

    Raises:
        OptionsError: there is an unknown option.
    """
    import difflib

    names = sorted(known)
    for name in sorted(set(options) - set(names)):
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        raise OptionsError(f"unknown engine option {name!r}: {hint}")
