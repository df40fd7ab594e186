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
from pathlib import Path
from typing import Any

from udfs.engines.base import Completion, Engine, Request, check_adapter, logprob_summary
from udfs.engines.errors import (
    EngineDied,
    EngineError,
    MissingExtraError,
    ModelMissingError,
    RequestError,
)
from udfs.engines.options import refuse_unknown
from udfs.engines.vllm.choices import Choosing, Running
from udfs.engines.vllm.files import adapter_hash, content_hash, first_and_last_hash, lora_rank
from udfs.engines.vllm.options import Options
from udfs.engines.vllm.prompts import tokens, writes_start

# Set before vLLM is imported; what the user's environment says wins.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}


class VllmEngine(Engine):
    """One vLLM engine; its options: `options.Options`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        checked = Options.read(options)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._vllm = _package()
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self._kind, self._structured = RequestOutputKind.FINAL_ONLY, StructuredOutputsParams
        args = {"model": checked.model, "revision": checked.revision, **checked.args}
        self._adapter, self._lora = adapter_hash(checked.adapter), None
        if checked.adapter:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, checked.adapter)
            args = {"enable_lora": True, "max_lora_rank": lora_rank(checked.adapter), **args}
        try:
            with _out_of_sight("llvmlite.binding.ffi"):
                engine_args = self._vllm.EngineArgs(**args)
                self._engine = self._vllm.LLMEngine.from_engine_args(engine_args)
        except Exception as error:
            # Any of it: no GPU, no memory, a model that vLLM does not know.
            raise EngineError(f"vLLM cannot load {checked.model}: {_one_line(error)}") from error
        self._tokenizer = _tokenizer(self._engine)
        config = self._engine.vllm_config
        self._window = checked.window or 2 * config.scheduler_config.max_num_seqs
        self._numbers = itertools.count()

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The model's content or declared revision, and what of vLLM's arguments can change a reply."""
        checked = Options.read(options)
        args = checked.args
        _known_args(args)
        folder = Path(checked.model)
        if folder.is_dir():
            model = content_hash(folder)
        elif folder.is_absolute() or checked.model.startswith((".", "~")):
            raise ModelMissingError(f"no model folder {folder}: name one, or a model of the Hugging Face hub")
        else:
            model = f"{checked.model}@{checked.revision or 'main'}"
        # Not how much memory or how many GPUs: replies do not depend on them but for rounding.
        how = {
            name: args[name] for name in sorted(args) if name.startswith(("quant", "rope", "hf_", "logprobs"))
        }
        return {
            "engine": "vllm",
            "model": model,
            "adapter": adapter_hash(checked.adapter),
            "template": hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode()).hexdigest(),
            "dtype": str(args.get("dtype", "auto")),
            "name": checked.model,
            "path": "",
        }

    @classmethod
    def legacy_identities(cls, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """A model's folder was once told by the first and the last MiB of each file."""
        found, folder = cls.identity(options), Path(Options.read(options).model)
        earlier = first_and_last_hash(folder) if folder.is_dir() else found["model"]
        return [] if earlier == found["model"] else [found | {"model": earlier}]

    @classmethod
    def decides(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The room for a prompt, how schemas are enforced, the adapter, and all of vLLM's arguments."""
        checked = Options.read(options)
        return {
            "max_model_len": checked.args.get("max_model_len"),
            "structured_outputs": {
                name: value
                for name, value in checked.args.items()
                if name.startswith(("structured_outputs", "guided_decoding"))
            },
            "adapter": adapter_hash(checked.adapter),
            "args": checked.args,
        }

    @classmethod
    def gpus(cls, options: Mapping[str, Any]) -> int:
        """As many as the model is spread over: one, unless vLLM's arguments say more."""
        args = Options.read(options).args
        return int(args.get("tensor_parallel_size", 1)) * int(args.get("pipeline_parallel_size", 1))

    @classmethod
    def trial(cls, options: Mapping[str, Any]) -> str:
        """Whether vLLM is installed here; on a cluster, where it runs is not looked at."""
        Options.read(options)
        try:
            import torch

            package = _package()
        except (ImportError, MissingExtraError) as error:
            raise EngineError(f"{error}; it is needed where the tasks run, not on the driver") from None
        count = torch.cuda.device_count()
        return f"vLLM {package.__version__}, {count} GPUs here"

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request, as they finish."""
        stream, running = iter(requests), dict[str, tuple[Running, int]]()
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
                        yield Completion.failed(request.request_id, "permanent", str(error))
                if not running:
                    return
                for output in self._step():
                    if output.finished and output.request_id in running:
                        asked, part = running.pop(output.request_id)
                        if isinstance(asked, Choosing):
                            chosen = asked.scored(part, output)
                            if chosen is not None:
                                yield chosen
                        else:
                            yield _finished(asked, output)
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

    def _add(self, request: Request, started: float, running: dict[str, tuple[Running, int]]) -> None:
        """Hand a request to the engine.

        Raises:
            RequestError: vLLM refuses it; the others are not touched.
        """
        check_adapter(request, self._adapter)
        prompt = self._prompt(request)
        if not request.choices:
            # Ids of our own: vLLM accepts one id twice.
            number = str(next(self._numbers))
            self._submit(number, self._input(request, prompt), self._sampling(request))
            running[number] = (Running(request, started), 0)
            return
        choosing = Choosing(request, started)
        numbers: list[str] = []
        # A choice is scored as a part of the prompt: while decoding, what a grammar forbids has no
        # probability left, and what is left has all of it.
        sampling = self._vllm.SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=self._kind
        )
        try:
            for part, ids in enumerate(choosing.prompts(self._tokenizer, prompt)):
                number = str(next(self._numbers))
                self._submit(number, {"prompt_token_ids": ids}, sampling)
                numbers.append(number)
                running[number] = (choosing, part)
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

    def _input(self, request: Request, prompt: str) -> Any:
        """A prompt as vLLM takes it: text, or tokens where it would add a start that is written already."""
        if request.prompt_format == "chat" and writes_start(self._tokenizer, prompt):
            return {"prompt_token_ids": tokens(self._tokenizer, prompt, is_chat=True)}
        return prompt

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


def _finished(running: Running, output: Any) -> Completion:
    """The completion of a finished output."""
    reply = output.outputs[0]
    return Completion(
        running.request.request_id,
        text=reply.text,
        finish_reason="length" if reply.finish_reason == "length" else "stop",
        prompt_tokens=len(output.prompt_token_ids or ()),
        cached_tokens=output.num_cached_tokens or 0,
        completion_tokens=len(reply.token_ids),
        **logprob_summary(_scores(reply)),
        seconds=time.perf_counter() - running.started,
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


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
