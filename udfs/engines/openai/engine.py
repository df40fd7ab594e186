"""Any OpenAI-compatible endpoint, through the official client: a vLLM server, model serving, OpenAI.

Requests run side by side in one event loop within the worker. A server that has too much to do is sent fewer;
one that is not well is tried again; what is wrong with one request for good is that row's fault. No key is
ever an option: it stands in an environment variable, and is taken out of whatever a server says.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from udfs.engines.base import Completion, Engine, Fault, Request, check_adapter
from udfs.engines.errors import EngineError, EngineFaultError, RequestError, TransientError
from udfs.engines.openai import refusals, wire
from udfs.engines.openai.options import FORMATS, Options, client_package, key_of
from udfs.engines.openai.pacing import Pace, backoff, retry_after
from udfs.engines.openai.refusals import Held, Refused
from udfs.engines.schemas import schema_violation


class _Passing(TransientError):
    """How the endpoint wants to be tried again; the message is 'short_name: what was said'."""

    def __init__(self, message: str, pause: float | None = None, throttled: bool = False) -> None:
        super().__init__(message)
        self.pause, self.throttled = pause, throttled


class _Refused(Exception):
    """A refusal that nobody can tell about yet."""

    def __init__(self, judgement: refusals.Judgement, said: str) -> None:
        super().__init__(said)
        self.judgement, self.said = judgement, said


class _Asked(Exception):
    """The request was asked in a way that this server lacks: ask again in the way now in force."""


class OpenAIEngine(Engine):
    """A client of one endpoint; its options: `options.Options`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = Options.read(options)
        self._openai = client_package()
        self._key = key_of(self._options)
        self._format = self._options.response_format or FORMATS[0]
        self._format_proven = self._options.response_format is not None
        self._logprobs = self._options.logprobs is not False
        self._max_tokens = self._options.max_tokens_field
        self._hopeless: TransientError | EngineFaultError | None = None
        self._held, self._has_answered = Held(), False
        self._failed_in_a_row = 0
        self._pace = Pace(self._options.concurrency)
        self._loop = asyncio.new_event_loop()
        self._client = self._openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=self._options.base_url,
            timeout=self._options.timeout,
            # Retries are ours: a server that refuses one request is sent fewer of all.
            max_retries=0,
        )

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The model's name and declared revision, and how it is asked; not where the endpoint is."""
        checked = Options.read(options)
        client_package()
        key_of(checked)
        how = {
            "response_format": checked.response_format,
            "extra_body": checked.extra_body,
            "omit": list(checked.omit),
        }
        return {
            "engine": "openai",
            "model": checked.model if checked.revision is None else f"{checked.model}@{checked.revision}",
            "adapter": checked.adapter,
            "template": hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest(),
            "dtype": "",
            "name": checked.model,
            "path": "",
        }

    @classmethod
    def decides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Where the endpoint is (its limits are its own), how it is asked for JSON, and the adapter."""
        checked = Options.read(options)
        return {
            "endpoint": checked.base_url,
            "response_format": checked.response_format,
            "adapter": checked.adapter,
        }

    @classmethod
    def trial(cls, options: Mapping[str, Any]) -> str:
        """Ask the endpoint for its models, which costs nothing."""
        checked = Options.read(options)
        openai, key = client_package(), key_of(checked)
        where = checked.base_url or "OpenAI"
        client = openai.OpenAI(api_key=key or "none", base_url=checked.base_url, timeout=10, max_retries=0)
        try:
            names = [model.id for model in client.models.list()]
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                said = f"the key in {checked.key_env}" if key else "to answer without api_key_env"
                raise EngineError(f"{where} refuses {said}") from None
            return f"{where} answers (it does not list its models)"
        except openai.OpenAIError as error:
            raise EngineError(f"{where} does not answer: {wire.hidden(wire.cause(error), key)}") from None
        finally:
            client.close()
        for name in (checked.model, checked.adapter):
            if name is not None and name not in names:
                shown = ", ".join(sorted(names)[:5]) or "none"
                raise EngineError(f"{where} has no model {name!r}: it has {shown}")
        return f"{where} has it"

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request, as they come; a refusal that is told later whose fault it is, later."""
        stream = iter(requests)
        running: set[asyncio.Task[_Done]] = set()
        self._hopeless, self._failed_in_a_row, self._held = None, 0, Held()
        is_over = False
        try:
            while True:
                while not is_over and len(running) < self._pace.limit:
                    request = next(stream, None)
                    is_over = request is None
                    if request is not None:
                        running.add(self._loop.create_task(self._one(request)))
                if not running:
                    break
                done, running = self._loop.run_until_complete(
                    asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                )
                for task in done:
                    yield from self._settled(task.result())
            if self._held:
                yield from self._told_by_greeting()
        finally:
            for task in running:
                task.cancel()
            if running:
                self._loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))

    def _settled(self, done: _Done) -> Iterator[Completion]:
        """What is known once a request has ended: its own completion, and those of held refusals."""
        if isinstance(done.outcome, Completion):
            if done.outcome.fault is None:
                self._has_answered = True
                yield from self._held.answered(done.started)
            yield done.outcome
            return
        alike = self._held.add(done.outcome)
        is_many = alike >= max(refusals.MANY_ALIKE, self._options.concurrency)
        if is_many or done.outcome.judgement.suspect is not None or self._hopeless is not None:
            yield from self._told_by_greeting(is_many)

    def _told_by_greeting(self, is_many: bool = False) -> list[Completion]:
        """The held refusals, told by whether the endpoint answers a greeting.

        Args:
            is_many: so many are alike that the engine must have answered another request, too.
        """
        last = self._held.last
        name = last.judgement.suspect or "refused_all"
        try:
            self._loop.run_until_complete(self._patiently(refusals.greeting(last.request)))
            if self._has_answered or not is_many:
                return self._held.answered()
        except TransientError:
            return self._held.given_back("transient")
        except (_Refused, RequestError, EngineFaultError):
            pass
        self._hopeless = self._hopeless or EngineFaultError(f"{name}: {last.said}")
        return self._held.given_back("engine", name)

    def close(self) -> None:
        """Close the connections."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._client.close())
            self._loop.close()

    async def _one(self, request: Request) -> _Done:
        started = time.perf_counter()
        try:
            reply = await self._patiently(request)
        except _Refused as refused:
            now = time.perf_counter()
            return _Done(started, Refused(request, refused.judgement, refused.said, now, now - started))
        except (RequestError, TransientError, EngineFaultError) as error:
            seconds = time.perf_counter() - started
            return _Done(
                started, Completion.failed(request.request_id, _fault_of(error), str(error), seconds)
            )
        return _Done(started, Completion(request.request_id, seconds=time.perf_counter() - started, **reply))

    async def _patiently(self, request: Request) -> dict[str, Any]:
        """Ask until there is a reply, or no more patience.

        Raises:
            RequestError, TransientError, EngineFaultError, _Refused
        """
        begun, attempt = time.monotonic(), 1
        while True:
            if self._hopeless is not None:
                raise type(self._hopeless)(str(self._hopeless))
            await self._pace.ready()
            try:
                done = await asyncio.wait_for(self._ask(request), self._options.timeout)
            except _Asked:
                continue
            except EngineFaultError as hopeless:
                self._hopeless = hopeless
                raise
            except (TimeoutError, _Passing) as error:
                seconds = f"timed_out: no reply within {self._options.timeout:g} s"
                fault = error if isinstance(error, _Passing) else _Passing(seconds)
                pause = backoff(attempt) if fault.pause is None else fault.pause
                if fault.throttled:
                    self._pace.throttled(pause)
                    if time.monotonic() + pause - begun > self._options.patience:
                        raise fault from None
                elif attempt >= self._options.attempts:
                    self._failed_in_a_row += 1
                    # A dead endpoint is not waited for once a request.
                    if self._failed_in_a_row >= self._options.concurrency:
                        self._hopeless = TransientError(str(fault))
                    raise fault from None
                else:
                    await asyncio.sleep(pause)
                attempt += 1
                continue
            self._failed_in_a_row = 0
            self._pace.succeeded()
            return done

    async def _ask(self, request: Request) -> dict[str, Any]:
        """One attempt.

        Raises:
            RequestError, TransientError, EngineFaultError, _Asked, _Refused
        """
        openai = self._openai
        schema = wire.choice_schema(request) if request.choices else request.response_schema
        asked = (self._format, self._logprobs, self._max_tokens)
        try:
            if request.prompt_format == "raw":
                if schema is not None:
                    raise RequestError(
                        "refused_request", "an endpoint takes schemas and choices in chat prompts only"
                    )
                reply = await self._client.completions.create(
                    prompt=request.raw_prompt(), **self._body(request, raw=True)
                )
            else:
                reply = await self._client.chat.completions.create(
                    messages=wire.messages(request, schema, self._format),
                    **self._body(request),
                    **wire.response_format(schema, self._format),
                )
        except openai.APIStatusError as error:
            raise self._fault(error, asked) from None
        except openai.APITimeoutError:
            raise _Passing(f"timed_out: no reply within {self._options.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise _Passing(f"unreachable: {self._hide(wire.cause(error))}") from None
        except openai.OpenAIError as error:
            raise _Passing(f"bad_reply: {self._hide(str(error))}") from None
        except ValueError as error:  # a body that is no JSON
            raise _Passing(f"bad_reply: {self._hide(str(error))}") from None
        try:
            done = wire.read(reply, raw=request.prompt_format == "raw")
        except (AttributeError, TypeError, IndexError, ValueError) as error:
            raise _Passing(f"bad_reply: {type(error).__name__} {error}") from None
        if schema is not None:
            done["text"] = self._json(done, schema, asked[0])
        if request.choices:
            done["text"] = wire.chosen(done["text"], request.choices)
        return done

    def _body(self, request: Request, raw: bool = False) -> dict[str, Any]:
        """What is asked for beside the prompt. Fields that change nothing are left out."""
        sampling, given = request.sampling, self._options
        extra = dict(given.extra_body)
        for name, value, neutral in (
            ("top_k", sampling.top_k, 0),
            ("min_p", sampling.min_p, 0.0),
            # One name for vLLM, one for llama.cpp; OpenAI has neither.
            ("repetition_penalty", sampling.repeat_penalty, 1.0),
            ("repeat_penalty", sampling.repeat_penalty, 1.0),
        ):
            if value != neutral:
                extra.setdefault(name, value)
        # Room for the object around a choice.
        length = sampling.max_tokens if request.choices is None else max(64, sampling.max_tokens)
        body: dict[str, Any] = {
            "model": given.adapter or given.model,
            "max_tokens" if raw else self._max_tokens: length,
            "temperature": sampling.temperature,
            "seed": (sampling.seed + 1_000_003 * request.sample) % 2**31,
        }
        if sampling.top_p != 1.0:
            body["top_p"] = sampling.top_p
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self._logprobs:
            body["logprobs"] = 1 if raw else True
        check_adapter(request, given.adapter)
        body = {name: value for name, value in body.items() if name not in given.omit}
        return body | ({"extra_body": extra} if extra else {})

    def _fault(self, error: Any, asked: tuple[str, bool, str]) -> Exception:
        """What an answer with an error status means."""
        status, said = int(error.status_code), self._hide(wire.said(error))
        code = str(getattr(error, "code", None) or getattr(error, "type", None) or "")
        headers = error.response.headers
        if status == 429 and refusals.is_unpaid(code, said):
            return EngineFaultError(f"out_of_quota: {said}")
        if status == 429 or (status == 503 and retry_after(headers) is not None):
            return _Passing(f"overloaded: {status} {said}", retry_after(headers), throttled=True)
        if status >= 500 or status in (408, 409, 425):
            return _Passing(f"server_error: {status} {said}", retry_after(headers))
        found = refusals.judge(status, code, said)
        if found.about == "engine":
            return EngineFaultError(f"{found.name}: {status} {said}")
        may_ask = found.name in ("refused_schema", "refused_request") and status != 403
        if may_ask and self._asked_otherwise(said, asked):
            return _Asked()
        if found.about == "request":
            return RequestError(found.name, said)
        return _Refused(found, f"{status} {said}")

    def _asked_otherwise(self, said: str, asked: tuple[str, bool, str]) -> bool:
        """Whether a refusal is about how it was asked, and there is another way: then that is in force."""
        form, logprobs, max_tokens = asked
        if "max_completion_tokens" in said and max_tokens == "max_tokens":
            self._max_tokens = "max_completion_tokens"
            return True
        if "logprobs" in said and logprobs and self._options.logprobs is None:
            self._logprobs = False
            return True
        return refusals.about_format(said) and self._other_format(form)

    def _other_format(self, form: str) -> bool:
        """Take the next way to ask for JSON, where the server has not shown that it knows this one."""
        if self._format_proven or form == FORMATS[-1]:
            return False
        if self._format == form:
            self._format = FORMATS[FORMATS.index(form) + 1]
        return True

    def _json(self, done: Mapping[str, Any], schema: Mapping[str, Any], form: str) -> str:
        """The JSON of a reply.

        Raises:
            _Asked: it is none, and the server may have ignored what it was asked for.
        """
        text = str(done["text"])
        # An empty reply (a model that only thought, say) says nothing about what the server knows.
        if form == "json_schema" and done["finish_reason"] == "stop" and text.strip():
            if schema_violation(wire.after_thought(text), schema) is None:
                self._format_proven = True
            elif self._other_format(form):
                raise _Asked
        return wire.unfenced(text)

    def _hide(self, text: str) -> str:
        return wire.hidden(text, self._key)


class _Done(NamedTuple):
    """A request that has ended, and when it was begun (`time.perf_counter`)."""

    started: float
    outcome: Completion | Refused


def _fault_of(error: RequestError | TransientError | EngineFaultError) -> Fault:
    if isinstance(error, RequestError):
        return "permanent"
    return "engine" if isinstance(error, EngineFaultError) else "transient"
