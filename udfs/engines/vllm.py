"""vLLM in the Python worker's own process: one engine a GPU, kept full across Arrow batches.

Requests are added and steps taken by hand, with about twice as many requests in flight as the engine runs at
a time, so that it never drains at the end of a batch. The engine's core stays in this process: a child would
outlive a killed worker and keep the GPU's memory.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
    refuse_unknown,
)

OPTIONS = ("model", "revision", "adapter", "args", "window")
# Set before vLLM is imported; what the user's environment says wins.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
# Named by options of their own, or decided here.
_NOT_ARGS = {
    "model": "the option model",
    "revision": "the option revision",
    "enable_lora": "the option adapter",
}
_SMALL_FILE = 1 << 20
_LORA_CONFIG = "adapter_config.json"


@dataclass
class _Running:
    """A request in the engine; one that makes a choice has one part a choice."""

    request: Request
    started: float
    parts: int = 1
    scores: dict[int, list[float]] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class VllmEngine(Engine):
    """One vLLM engine. Options:

    model     a folder with the model, or its name on the Hugging Face hub
    revision  of a model named on the hub (part of the recipe)
    adapter   a folder with a LoRA adapter for it, as peft saves one
    args      vLLM's own engine arguments, such as max_model_len, dtype, quantization, tensor_parallel_size,
              gpu_memory_utilization, max_num_seqs, kv_cache_dtype
    window    requests in flight; null: twice max_num_seqs
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        checked = _check(options)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._vllm = _package()
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self._kind, self._structured = RequestOutputKind.FINAL_ONLY, StructuredOutputsParams
        args = {"model": checked["model"], "revision": checked["revision"], **checked["args"]}
        self._adapter, self._lora = _adapter(checked["adapter"]), None
        if checked["adapter"]:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, checked["adapter"])
            args = {"enable_lora": True, "max_lora_rank": _lora_rank(checked["adapter"]), **args}
        try:
            with _out_of_sight("llvmlite.binding.ffi"):
                engine_args = self._vllm.EngineArgs(**args)
                self._engine = self._vllm.LLMEngine.from_engine_args(engine_args)
        except Exception as error:
            # Any of it: no GPU, no memory, a model that vLLM does not know.
            raise EngineError(f"vLLM cannot load {checked['model']}: {_one_line(error)}") from error
        self._tokenizer = _tokenizer(self._engine)
        config = self._engine.vllm_config
        self._window = checked["window"] or 2 * config.scheduler_config.max_num_seqs
        self._numbers = itertools.count()

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The model's content or declared revision, and what of vLLM's arguments can change a reply."""
        checked = _check(options)
        args = checked["args"]
        _known_args(args)
        folder = Path(checked["model"]).expanduser()
        if folder.is_dir():
            model = _content(folder)
        elif folder.is_absolute() or checked["model"].startswith((".", "~")):
            raise ModelMissingError(f"no model folder {folder}: name one, or a model of the Hugging Face hub")
        else:
            model = f"{checked['model']}@{checked['revision'] or 'main'}"
        # Not how much memory or how many GPUs: replies do not depend on them but for rounding.
        how = {
            name: args[name] for name in sorted(args) if name.startswith(("quant", "rope", "hf_", "logprobs"))
        }
        return {
            "engine": "vllm",
            "model": model,
            "adapter": _adapter(checked["adapter"]),
            "template": hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode()).hexdigest(),
            "dtype": str(args.get("dtype", "auto")),
            "name": checked["model"],
            "path": "",
        }

    @classmethod
    def gpus(cls, options: Mapping[str, Any]) -> int:
        """As many as the model is spread over: one, unless vLLM's arguments say more."""
        args = _check(options)["args"]
        return int(args.get("tensor_parallel_size", 1)) * int(args.get("pipeline_parallel_size", 1))

    @classmethod
    def trial(cls, options: Mapping[str, Any]) -> str:
        """Whether vLLM is installed here; on a cluster, where it runs is not looked at."""
        _check(options)
        try:
            import torch

            package = _package()
        except (ImportError, MissingExtraError) as error:
            raise EngineError(f"{error}; it is needed where the tasks run, not on the driver") from None
        count = torch.cuda.device_count()
        return f"vLLM {package.__version__}, {count} GPUs here"

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request, as they finish."""
        stream, running = iter(requests), dict[str, tuple[_Running, int]]()
        is_over = False
        try:
            while True:
                while not is_over and len(running) < self._window:
                    request = next(stream, None)
                    if request is None:
                        is_over = True
                        break
                    started = time.perf_counter()
                    try:
                        self._add(request, started, running)
                    except RequestError as error:
                        yield Completion.failed(request.request_id, "lasting", str(error))
                if not running:
                    return
                for output in self._step():
                    if output.finished and output.request_id in running:
                        state, part = running.pop(output.request_id)
                        done = self._finished(state, part, output)
                        if done is not None:
                            yield done
        finally:
            if running:
                with contextlib.suppress(Exception):
                    self._engine.abort_request(list(running))

    def close(self) -> None:
        """Free the model's memory."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        with contextlib.suppress(Exception):
            engine.engine_core.shutdown()
        del engine
        with contextlib.suppress(Exception):
            from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

            cleanup_dist_env_and_memory()
        gc.collect()

    def _step(self) -> list[Any]:
        try:
            return list(self._engine.step())
        except Exception as error:
            raise EngineDied(f"vLLM failed: {_one_line(error)}") from error

    def _add(self, request: Request, started: float, running: dict[str, tuple[_Running, int]]) -> None:
        """Hand a request to the engine.

        Raises:
            RequestError: vLLM refuses it; the others are not touched.
        """
        check_adapter(request, self._adapter)
        prompt = self._prompt(request)
        if not request.choices:
            # Ids of our own: vLLM accepts one id twice.
            number = str(next(self._numbers))
            self._submit(number, prompt, self._sampling(request))
            running[number] = (_Running(request, started), 0)
            return
        ids = self._tokenizer.encode(prompt, add_special_tokens=request.prompt_format == "raw")
        choices = list(dict.fromkeys(request.choices))
        state = _Running(request, started, parts=len(choices))
        numbers: list[str] = []
        try:
            for part, choice in enumerate(choices):
                ending = self._tokenizer.encode(choice, add_special_tokens=False)
                # A choice is scored as a part of the prompt: while decoding, what a grammar forbids has
                # no probability left, and what is left has all of it.
                sampling = self._vllm.SamplingParams(
                    max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=self._kind
                )
                number = str(next(self._numbers))
                self._submit(number, {"prompt_token_ids": ids + ending}, sampling)
                numbers.append(number)
                running[number] = (state, part)
                state.scores[part] = [float("nan")] * len(ending)
        except RequestError:
            self._engine.abort_request(numbers)
            for number in numbers:
                del running[number]
            raise

    def _submit(self, number: str, prompt: Any, sampling: Any) -> None:
        from vllm.exceptions import VLLMValidationError

        try:
            self._engine.add_request(number, prompt, sampling, lora_request=self._lora)
        except (VLLMValidationError, ValueError, TypeError) as error:
            said = _one_line(error)
            raise RequestError(_refusal(said), said) from None

    def _prompt(self, request: Request) -> str:
        if request.prompt_format == "raw":
            return request.raw_prompt()
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        try:
            return str(
                self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            )
        except Exception as error:  # noqa: BLE001 - a template is a program: it may raise anything
            raise RequestError("refused_request", f"the chat template: {_one_line(error)}") from None

    def _sampling(self, request: Request) -> Any:
        sampling = request.sampling
        schema = request.response_schema
        return self._vllm.SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            repetition_penalty=sampling.repeat_penalty,
            seed=(sampling.seed + 1_000_003 * request.sample) % 2**31 if sampling.temperature > 0 else None,
            stop=list(sampling.stop) or None,
            logprobs=0,
            structured_outputs=None if schema is None else self._structured(json=dict(schema)),
            output_kind=self._kind,
        )

    def _finished(self, state: _Running, part: int, output: Any) -> Completion | None:
        """The completion of a finished output; None while other parts of it run."""
        request = state.request
        prompt_tokens, cached = len(output.prompt_token_ids or ()), output.num_cached_tokens or 0
        seconds = time.perf_counter() - state.started
        if not request.choices:
            reply = output.outputs[0]
            scores = _scores(reply)
            return Completion(
                request.request_id,
                text=reply.text,
                finish_reason="length" if reply.finish_reason == "length" else "stop",
                prompt_tokens=prompt_tokens,
                cached_tokens=cached,
                completion_tokens=len(reply.token_ids),
                **logprob_summary(scores),
                seconds=seconds,
            )
        length = len(state.scores[part])
        last = list(zip(output.prompt_token_ids, output.prompt_logprobs, strict=True))[-length:]
        state.scores[part] = [found[token].logprob for token, found in last]
        state.prompt_tokens += prompt_tokens
        state.cached_tokens += cached
        state.completion_tokens += 1
        state.parts -= 1
        if state.parts:
            return None
        choices = list(dict.fromkeys(request.choices))
        means = {choice: sum(state.scores[n]) / len(state.scores[n]) for n, choice in enumerate(choices)}
        best = max(choices, key=lambda choice: means[choice])
        return Completion(
            request.request_id,
            text=best,
            prompt_tokens=state.prompt_tokens,
            cached_tokens=state.cached_tokens,
            completion_tokens=state.completion_tokens,
            mean_logprob=means[best],
            min_logprob=min(state.scores[choices.index(best)]),
            choice_logprobs=[means[choice] for choice in request.choices],
            seconds=seconds,
        )


def _scores(reply: Any) -> list[float]:
    """The log-probability of each token of a reply."""
    return [
        float(found[token].logprob)
        for token, found in zip(reply.token_ids, reply.logprobs or (), strict=False)
        if token in found
    ]


def _refusal(said: str) -> str:
    lower = said.lower()
    if "empty" in lower:
        return "empty_prompt"
    if (
        "context" in lower
        or "max_model_len" in lower
        or "longer than" in lower
        or "maximum model length" in lower
    ):
        return "prompt_too_long"
    if "schema" in lower or "grammar" in lower or "structured" in lower:
        return "refused_schema"
    return "refused_request"


@contextlib.contextmanager
def _out_of_sight(name: str) -> Iterator[None]:
    """Keep a module out of `sys.modules` for a block.

    vLLM 0.32 looks at every object of every module while it loads, and llvmlite's library object, which
    answers to any attribute, ends it. A worker that ran numba's kernels before has that module.
    """
    module = sys.modules.pop(name, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[name] = module


def _tokenizer(engine: Any) -> Any:
    found = getattr(engine, "tokenizer", None)
    if found is None or not hasattr(found, "apply_chat_template"):
        found = engine.get_tokenizer()
    return found


def _package() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise MissingExtraError(
            f"the engine vllm needs vLLM where it runs: pip install 'webscale-rl[vllm]' ({error})"
        ) from error
    return vllm


def _known_args(args: Mapping[str, Any]) -> None:
    """Refuse an argument that vLLM does not have; nothing to say where vLLM is not installed.

    Raises:
        OptionsError
    """
    try:
        from vllm import EngineArgs
    except ImportError:
        return
    refuse_unknown(args, EngineArgs.__dataclass_fields__)


def _content(folder: Path) -> str:
    """A hash of a model's folder: of small files their content, of large ones name and size, and the header
    and end of each, so that a model of hundreds of gigabytes is not read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    if not any(path.name == "config.json" for path in files):
        raise ModelMissingError(f"{folder} has no config.json: it is no model's folder")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_SMALL_FILE))
            if size > _SMALL_FILE:
                file.seek(max(_SMALL_FILE, size - _SMALL_FILE))
                digest.update(file.read(_SMALL_FILE))
    return digest.hexdigest()


def _adapter(folder: str | None) -> str | None:
    """A hash of the adapter that a folder holds; None for none.

    Raises:
        ModelMissingError: it holds none.
    """
    if folder is None:
        return None
    files = [Path(folder) / name for name in (_LORA_CONFIG, "adapter_model.safetensors")]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ModelMissingError(f"{folder} has no {missing[0]}: it is no folder of a LoRA adapter")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _lora_rank(folder: str) -> int:
    """The next rank that vLLM has kernels for."""
    rank = int(json.loads((Path(folder) / _LORA_CONFIG).read_text())["r"])
    return next((known for known in (8, 16, 32, 64, 128, 256, 320, 512) if known >= rank), rank)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with their defaults.

    Raises:
        OptionsError
    """
    refuse_unknown(options, OPTIONS)
    model = option(options, "model", None, str)
    if not model:
        raise OptionsError("engine option model is missing: a folder, or a name on the Hugging Face hub")
    adapter = option(options, "adapter", None, str)
    args = option(options, "args", {}, dict)
    for name, instead in _NOT_ARGS.items():
        if name in args:
            raise OptionsError(f"engine option args has {name!r}: use {instead}")
    return {
        "model": os.path.expanduser(model),
        "revision": option(options, "revision", None, str),
        "adapter": os.path.abspath(os.path.expanduser(adapter)) if adapter else None,
        "args": dict(args),
        "window": option(options, "window", None, int, 1, 100_000),
    }
