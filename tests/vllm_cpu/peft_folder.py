"""A GGUF adapter as a peft folder, for vLLM: the way back of `write_gguf`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

from webscale_rl.distill.gguf_adapter import _MODULES, _architecture, _heads


def write_peft(path: Path, base_config: Any, base: str, folder: Path) -> None:
    """Write it.

    Args:
        base_config: transformers' configuration of the base model.
        base: its name, for the record.

    Raises:
        ConfigError: llama.cpp's names for this architecture are not known here.
    """
    architecture, is_permuted = _architecture(base_config)
    count = base_config.num_hidden_layers
    names = gguf.get_tensor_name_map(architecture, count)
    modules = {
        names.get_name(f"model.layers.{layer}.{module}"): f"model.layers.{layer}.{module}"
        for layer in range(count)
        for module in _MODULES
    }
    reader = gguf.GGUFReader(str(path))
    alpha = float(reader.fields[gguf.Keys.Adapter.LORA_ALPHA].contents())
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    rank = 0
    for tensor in reader.tensors:
        known, _, half = tensor.name.rpartition(".weight.lora_")
        module = modules[known]
        weights = np.array(tensor.data, dtype=np.float16)
        if half == "a":
            rank = weights.shape[0]
        elif is_permuted and module.endswith(("q_proj", "k_proj")):
            weights = _restored(weights, _heads(base_config, module))
        tensors[f"base_model.model.{module}.lora_{half.upper()}.weight"] = np.ascontiguousarray(weights)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({module.rpartition(".")[2] for module in modules.values()}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _restored(weights: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The way back of `_permuted`."""
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
