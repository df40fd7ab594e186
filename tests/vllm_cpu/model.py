"""The embedded model as vLLM reads it: its GGUF file dequantised once, into a folder.

python tests/vllm_cpu/model.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from udfs.engines.llamacpp.files import packaged_model


def main(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    file = Path(packaged_model())
    options = {"gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, quantization_config=GgufConfig(dequantize=True), **options
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, **options).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
