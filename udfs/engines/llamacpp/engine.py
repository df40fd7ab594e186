"""The embedded engine: a GGUF model in this process, through `xllamacpp`.

The model is served by llama.cpp's own slots inside the process; calls come from a thread pool and
release the interpreter lock. No TCP port is opened: the server insists on an address, so it gets a
socket in a private folder, which is unlinked as soon as the model is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

from udfs.engines.base import Completion, Engine, Request, check_adapter, logprob_summary
from udfs.engines.errors import (
    EngineDied,
    EngineError,
    MissingExtraError,
    OptionsError,
    RequestError,
    TransientError,
)
from udfs.engines.llamacpp.choices import Choices
from udfs.engines.llamacpp.files import adapter_hash
from udfs.engines.llamacpp.gguf import model_sha256, read_header
from udfs.engines.llamacpp.options import Options
from udfs.engines.llamacpp.reply import Reply, fault
from udfs.engines.schemas import in_asked_order, schema_violation

_NO_EXTRA = "the llamacpp engine needs xllamacpp: pip install 'webscale-rl[embedded]'"


class LlamaCppEngine(Engine):
    """A GGUF model on this machine's processor; its options: `options.Options`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        checked = Options.read(options)
        model, adapter = checked.files()
        header = read_header(model)
        self._parallel = checked.parallel
        self._adapter = adapter_hash(adapter)
        self._control = _control_pattern(header.control_tokens)
        self._choices = Choices(self._call)
        self._server = _load(checked, model, adapter)
        self._pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="llamacpp")

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Engine family, model and template hash, quantisation; the rest is for people to read."""
        checked = Options.read(options)
        model, adapter = checked.files()
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError(_NO_EXTRA)
        header = read_header(model)
        return {
            "engine": "llamacpp",
            "model": model_sha256(model),
            "adapter": adapter_hash(adapter),
            "template": hashlib.sha256(header.chat_template.encode()).hexdigest(),
            "dtype": header.dtype,
            "name": header.name,
            "path": model,
            "context": checked.context,
        }

    @classmethod
    def decides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The room for a prompt, what compiles a schema, the adapter, and what memory it takes."""
        checked = Options.read(options)
        _, adapter = checked.files()
        return {
            "context": checked.context,
            "parallel": checked.parallel,
            "adapter": adapter_hash(adapter),
            "package": importlib.metadata.version("xllamacpp"),
        }

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request, `parallel` of them in flight, as they finish."""
        stream = iter(requests)
        flying: set[Future[Completion]] = set()
        try:
            while True:
                # One more than the slots, so that a slot never waits for the input to be read.
                for request in islice(stream, self._parallel + 1 - len(flying)):
                    flying.add(self._pool.submit(self._one, request))
                if not flying:
                    return
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in flying:
                future.cancel()

    def close(self) -> None:
        """Let what runs end and free the model."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._server = None

    def _one(self, request: Request) -> Completion:
        """Complete one request; what goes wrong with it becomes its row."""
        started = time.perf_counter()
        try:
            check_adapter(request, self._adapter)
            done = self._choices.choose(request) if request.choices else self._write(request)
        except RequestError as error:
            return Completion.failed(
                request.request_id, "permanent", str(error), time.perf_counter() - started
            )
        except TransientError as error:
            return Completion.failed(
                request.request_id, "transient", str(error), time.perf_counter() - started
            )
        return Completion(request.request_id, seconds=time.perf_counter() - started, **done)

    def _write(self, request: Request) -> dict[str, Any]:
        """Free text, or JSON under the request's schema."""
        schema = request.response_schema
        extra: dict[str, Any] = {} if schema is None else {"grammar": _grammar(schema)}
        reply = self._call(request, request.sampling.max_tokens, **extra)
        text, finish = reply.text, reply.finish_reason
        if schema is not None and finish == "stop":
            problem = schema_violation(text, schema)
            if problem:  # llama.cpp ignores a schema that it cannot compile and writes freely
                raise RequestError("refused_schema", f"the schema was not enforced ({problem})")
        scores = reply.scores_of_text()
        return {
            "text": text,
            "finish_reason": finish,
            **logprob_summary(scores),
            **reply.usage,
        }

    def _call(self, request: Request, max_tokens: int, top: int = 1, **extra: Any) -> Reply:
        """One call to llama.cpp.

        Raises:
            RequestError: this request can never be served.
            TransientError: the server is not well; another try may do.
        """
        if self._server is None:
            raise EngineDied("the engine was closed")
        sampling = request.sampling
        greedy = request.choices is not None
        body: dict[str, Any] = {
            "temperature": 0.0 if greedy else sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": 1.0 if greedy else sampling.repeat_penalty,
            "seed": (sampling.seed + 1_000_003 * request.sample) % 2**32,
            "stop": [] if greedy else list(sampling.stop),
            "cache_prompt": True,
            "verbose": True,
            "stream": False,
            **extra,
        }
        try:
            if request.prompt_format == "raw":
                body |= {"prompt": request.raw_prompt(), "n_predict": max_tokens, "n_probs": top}
                answer = self._server.handle_completions(body)
            else:
                body |= {
                    "messages": [
                        {"role": m.role, "content": self._defused(m.content)} for m in request.messages
                    ],
                    "max_tokens": max_tokens,
                    "logprobs": True,
                    "top_logprobs": top,
                    "reasoning_format": "none",
                }
                answer = self._server.handle_chat_completions(body)
        except ValueError as error:  # raised for requests that llama.cpp cannot read
            raise RequestError("refused_request", str(error)) from error
        except Exception as error:
            raise TransientError(f"engine_error: {type(error).__name__} {error}") from error
        if isinstance(answer, str | bytes):
            answer = json.loads(answer)
        if "error" in answer:
            raise fault(answer["error"])
        return Reply(answer)

    def _defused(self, content: str) -> str:
        """The content with spelled-out control tokens broken: no document ends its own message."""
        if self._control is None:
            return content
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)


def _grammar(schema: Mapping[str, Any]) -> str:
    """The grammar of a schema, without JSON's optional white space, which small models get lost in.

    A request's canonical JSON sorts the properties by name; they are written in the order in which
    `required` lists them, so that a schema can ask for the reason before the verdict.
    """
    import xllamacpp

    separators = {"item_separator": ", ", "key_separator": ": "}
    guidance = {"x-guidance": {"whitespace_flexible": False, **separators}}
    return str(xllamacpp.json_schema_to_grammar({**in_asked_order(schema), **guidance}))


def _control_pattern(tokens: Sequence[str]) -> re.Pattern[str] | None:
    spelled = sorted((token for token in tokens if len(token) > 2), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spelled))) if spelled else None


def _load(options: Options, model: str, adapter: str | None) -> Any:
    """A running llama.cpp server.

    Raises:
        MissingExtraError, OptionsError, EngineError
    """
    # Threads that spin while they wait take the core from everyone else (eight times slower).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError(f"{_NO_EXTRA} ({error})") from error
    params = xllamacpp.CommonParams()
    params.model.path = model
    if adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(adapter, 1.0)]
    params.n_ctx = options.context * options.parallel  # llama.cpp divides it by the slots
    params.n_parallel = options.parallel
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = 0  # by default it would keep 8 GB of old prompts
    params.verbosity = 0
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    with tempfile.TemporaryDirectory(prefix="llm") as folder:
        address = os.path.join(folder, "engine.sock")
        if len(address) > 100:
            raise OptionsError(f"the temporary folder's name is too long for a socket: {folder}")
        params.hostnames = [address]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp cannot load {model} with context {options.context}, "
                f"parallel {options.parallel} and adapter {adapter}: {error}"
            ) from error
