"""A peft adapter as llama.cpp reads it: one GGUF file in half precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from webscale_rl.errors import ConfigError

# transformers' model types that were tried: llama.cpp's name, and whether it stores the rows of the query and
# key projections in another order (its rotary embedding takes neighbouring pairs).
_ARCHITECTURES = {
    "llama": ("LLAMA", True),
    "mistral": ("LLAMA", True),
    "qwen2": ("QWEN2", False),
    "qwen3": ("QWEN3", False),
}
_MODULES = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)


def write_gguf(folder: Path, base_config: Any, path: Path) -> None:
    """Write the adapter of a peft folder as a GGUF file.

    Args:
        base_config: transformers' configuration of the base model.

    Raises:
        ConfigError: llama.cpp's names for this architecture are not known here.
    """
    import gguf
    from safetensors.numpy import load_file

    architecture, is_permuted = _architecture(base_config)
    names = gguf.get_tensor_name_map(architecture, base_config.num_hidden_layers)
    settings = json.loads((folder / "adapter_config.json").read_text())
    writer = gguf.GGUFWriter(str(path), gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    for key, tensor in sorted(load_file(folder / "adapter_model.safetensors").items()):
        module, _, part = key.removeprefix("base_model.model.").partition(".lora_")
        known = names.get_name(module)
        if known is None:
            raise ConfigError(f"llama.cpp has no tensor for {module}")
        weights = tensor.astype(np.float32)
        half = part[0].lower()
        if is_permuted and half == "b" and module.endswith(("q_proj", "k_proj")):
            weights = _permuted(weights, _heads(base_config, module))
        writer.add_tensor(f"{known}.weight.lora_{half}", np.ascontiguousarray(weights.astype(np.float16)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _permuted(weights: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """The rows of each head as llama.cpp wants them: the halves of the rotation interleaved."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _architecture(base_config: Any) -> tuple[Any, bool]:
    import gguf

    if base_config.model_type not in _ARCHITECTURES:
        raise ConfigError(
            f"no GGUF adapter for models of type {base_config.model_type}: "
            f"known are {', '.join(sorted(_ARCHITECTURES))}"
        )
    name, is_permuted = _ARCHITECTURES[base_config.model_type]
    return gguf.MODEL_ARCH[name], is_permuted


def _heads(base_config: Any, module: str) -> int:
    heads = base_config.num_key_value_heads if module.endswith("k_proj") else base_config.num_attention_heads
    return int(heads)
