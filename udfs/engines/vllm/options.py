"""The options of the engine `vllm`."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field, field_validator

from udfs.engines.options import EngineOptions

# Arguments of vLLM that are named by options of their own, or decided here.
_NOT_ARGS = {
    "model": "the option model",
    "revision": "the option revision",
    "enable_lora": "the option adapter",
}


class Options(EngineOptions):
    """What a vLLM engine is told."""

    model: str = Field(min_length=1, description="a folder, or a name on the Hugging Face hub")
    revision: str | None = Field(None, description="of a model named on the hub (part of the recipe)")
    adapter: str | None = Field(
        None, description="a folder with a LoRA adapter for the model, as peft saves one"
    )
    args: dict[str, Any] = Field(
        default_factory=dict,
        description="vLLM's own engine arguments, such as max_model_len, dtype, quantization, "
        "tensor_parallel_size, gpu_memory_utilization, max_num_seqs, kv_cache_dtype",
    )
    window: int | None = Field(
        None, ge=1, le=100_000, description="requests in flight; null: twice max_num_seqs"
    )

    @field_validator("model")
    @classmethod
    def _home(cls, model: str) -> str:
        return os.path.expanduser(model)

    @field_validator("adapter")
    @classmethod
    def _absolute(cls, adapter: str | None) -> str | None:
        return os.path.abspath(os.path.expanduser(adapter)) if adapter else None

    @field_validator("args")
    @classmethod
    def _ours(cls, args: dict[str, Any]) -> dict[str, Any]:
        for name, instead in _NOT_ARGS.items():
            if name in args:
                raise ValueError(f"has {name!r}: use {instead}")
        return args
