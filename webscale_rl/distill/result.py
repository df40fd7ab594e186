"""What distilling gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from webscale_rl.distill.evaluate import Agreement
from webscale_rl.distill.training import Trained


@dataclass(frozen=True)
class Distilled:
    """What came out.

    Attributes:
        trained: what training took.
        base, tuned: agreement with the teacher on held-out documents; None where none were held out.
        examples: trained on, held out.
        gguf: the adapter for llama.cpp; None where there is none for this architecture.
    """

    trained: Trained
    base: Agreement | None
    tuned: Agreement | None
    examples: tuple[int, int]
    gguf: Path | None
