"""A fake engine for tests: deterministic, countable, and able to fail on demand.

Use it as ``{"engine": "tests.fakes:FakeEngine", "options": {...}}``. Options, all optional:

    log           file to which each call appends its request id (one line; counts across processes)
    sleep         seconds to wait per request
    replies       {substring of the last message: reply text}; the first match in sorted order wins
    passing       marker: requests whose messages contain it come back as a transient fault
    lasting       marker: ... as a permanent fault
    broken        marker: ... as a fault of the engine itself
    malformed     marker: ... with a text that is no JSON
    kill          marker: ... the process kills itself with SIGKILL
    exit          marker: ... the process leaves with os._exit(3)
    raises        marker: ... the engine raises EngineDied
    kill_once     path: a kill (or exit) happens only while this file does not exist, and makes it
    passing_times a transient fault for the first n calls of each request only (counted in `log`)
    adapter       its adapter: requests for another one, or for none, are refused
    context       tokens of prompt and reply together (default 2048); it decides what is too long
    needs         {marker: tokens}: a request with the marker is too long for a smaller context
    variant       any text: another identity, so other requests
    was           another variant, whose identity earlier versions gave to this one
    missing       true: identity() raises, as for a missing model
    trace         folder in which each process writes what happens to its engine, see `traced`
    speeds        factors of `sleep`: the first engine that is made gets the first, and so on (needs trace)
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from udfs.engines.base import (
    Completion,
    Engine,
    EngineDied,
    ModelMissingError,
    Request,
    RequestError,
    check_adapter,
    refuse_unknown,
)

OPTIONS = (
    *("log", "sleep", "replies", "passing", "lasting", "broken", "malformed", "kill", "exit", "raises"),
    *("kill_once", "passing_times", "adapter", "context", "needs", "variant", "was", "missing", "trace"),
    "speeds",
)


class FakeEngine(Engine):
    """Answers from the request alone; see the module's docstring for what can be asked of it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        refuse_unknown(options, OPTIONS)
        self._options = options
        self._sleep = float(options.get("sleep", 0))
        if options.get("speeds"):
            self._sleep *= options["speeds"][self._number() % len(options["speeds"])]
        self._trace("built")

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Fixed, but for the option `variant`."""
        refuse_unknown(options, OPTIONS)
        if options.get("missing"):
            raise ModelMissingError("the fake model is missing: leave out the option missing")
        variant = str(options.get("variant", ""))
        return {
            "engine": "fake",
            "model": hashlib.sha256(f"fake {variant}".encode()).hexdigest(),
            "adapter": options.get("adapter"),
            "template": hashlib.sha256(b"fake template").hexdigest(),
            "dtype": "none",
            "name": "fake",
            "path": "",
            "context": 2048,
        }

    @classmethod
    def legacy_identities(cls, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """That of the variant which the option `was` names."""
        return [cls.identity({"variant": options["was"]})] if options.get("was") else []

    @classmethod
    def decides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The option `context`."""
        return {"context": options.get("context", 2048)}

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request, in their order."""
        for request in requests:
            started = time.time()
            completion = self._one(request)
            self._trace("called", since=started)
            yield completion

    def close(self) -> None:
        """Nothing to free."""
        self._trace("closed")

    def _number(self) -> int:
        """How many engines were made before, of all processes."""
        for number in itertools.count():
            try:
                path = Path(self._options["trace"]) / f"engine-{number}"
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            except FileExistsError:
                continue
            return number
        raise AssertionError

    def _trace(self, event: str, **more: float) -> None:
        folder = self._options.get("trace")
        if folder:
            about = {
                "event": event,
                "at": time.time(),
                "pid": os.getpid(),
                "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
                "variant": self._options.get("variant"),
            }
            with open(Path(folder) / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(about | more) + "\n")

    def _one(self, request: Request) -> Completion:
        text = "\n".join(message.content for message in request.messages)
        called = self._log(request.request_id)
        time.sleep(self._sleep)
        try:
            check_adapter(request, self._options.get("adapter"))
        except RequestError as error:
            return Completion.failed(request.request_id, "permanent", str(error))
        if self._marked("kill", text) and self._first_kill():
            os.kill(os.getpid(), signal.SIGKILL)
        if self._marked("exit", text) and self._first_kill():
            os._exit(3)
        if self._marked("raises", text):
            raise EngineDied("the fake engine was told to die")
        context = self._options.get("context", 2048)
        for marker, tokens in (self._options.get("needs") or {}).items():
            if marker in text and tokens > context:
                message = f"prompt_too_long: {tokens} tokens, the context has {context}"
                return Completion.failed(request.request_id, "permanent", message)
        if self._marked("lasting", text):
            return Completion.failed(request.request_id, "permanent", "told_to_fail: for good")
        if self._marked("broken", text):
            return Completion.failed(request.request_id, "engine", "refused_account: told to fail")
        if self._marked("passing", text) and called <= self._options.get("passing_times", 10**9):
            return Completion.failed(request.request_id, "transient", "told_to_fail: for now")
        return self._reply(request, text)

    def _reply(self, request: Request, text: str) -> Completion:
        seed = int.from_bytes(hashlib.sha256(f"{request.sample} {text}".encode()).digest()[:4])
        score = -0.1 - (seed % 1000) / 1000
        scores: list[float] | None = None
        if request.choices:
            wanted = self._prepared(request)
            scores = [-1.0 - _number(choice + text) for choice in request.choices]
            if wanted in request.choices:
                scores[request.choices.index(wanted)] = -0.5
            best = max(range(len(scores)), key=scores.__getitem__)
            reply, score = request.choices[best], scores[best]
        elif self._marked("malformed", text):
            reply = '{"cut": [1, 2'
        elif (prepared := self._prepared(request)) is not None:
            reply = prepared
        elif request.response_schema is not None:
            reply = json.dumps(instance(request.response_schema), ensure_ascii=False)
        else:
            reply = f"reply {seed:08x}"
        words = len(reply.split())
        return Completion(
            request.request_id,
            text=reply,
            finish_reason="length" if words > request.sampling.max_tokens else "stop",
            prompt_tokens=len(text.split()),
            completion_tokens=words,
            mean_logprob=score,
            min_logprob=score * 2,
            choice_logprobs=scores,
            seconds=float(self._options.get("sleep", 0)),
        )

    def _prepared(self, request: Request) -> str | None:
        last = request.messages[-1].content
        replies = self._options.get("replies") or {}
        return next((replies[part] for part in sorted(replies) if part in last), None)

    def _marked(self, name: str, text: str) -> bool:
        marker = self._options.get(name)
        return bool(marker) and marker in text

    def _first_kill(self) -> bool:
        path = self._options.get("kill_once")
        if not path:
            return True
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def _log(self, request_id: str) -> int:
        """Append the id and say how often it stands in the log; 1 without a log."""
        path = self._options.get("log")
        if not path:
            return 1
        with open(path, "a", encoding="utf-8") as file:
            file.write(request_id + "\n")
        return called(path).count(request_id) if self._options.get("passing_times") else 1


def called(log: str | os.PathLike[str]) -> list[str]:
    """The request ids in a log, in order of the calls; empty when there was none."""
    try:
        with open(log, encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def traced(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The events of a trace in order: event (built, called, closed), at, pid, gpus, variant, since."""
    lines = [line for path in Path(folder).glob("*.jsonl") for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda event: event["at"])


def instance(schema: Mapping[str, Any] | bool) -> Any:
    """The same valid instance of a schema each time: first of an enum, true, smallest sizes."""
    return _instance(schema, schema)


def _number(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


def _instance(schema: Any, root: Any) -> Any:
    if isinstance(schema, bool):
        return None
    if "$ref" in schema:
        node = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            node = node[step]
        return _instance(node, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("anyOf", "allOf", "oneOf"):
        if keyword in schema:
            return _instance(schema[keyword][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _instance(properties[name], root) for name in properties}
    if kind == "array":
        least = max(schema.get("minItems", 0), 1 if schema.get("maxItems", 1) else 0)
        first = [_instance(part, root) for part in schema.get("prefixItems", [])]
        more = max(0, least - len(first)) if "items" in schema else 0
        return first + [_instance(schema["items"], root) for _ in range(more)]
    if kind in ("integer", "number"):
        if "exclusiveMinimum" in schema:
            return schema["exclusiveMinimum"] + 1
        return schema.get("minimum", min(1, schema.get("maximum", 1)))
    if kind == "string":
        text = "a reply of the fake engine"
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
    return True if kind == "boolean" else None
