"""The options of `webscale-rl distill`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path


def add_distill_options(
    parser: argparse.ArgumentParser,
    steps: Iterable[str],
    positive: Callable[[str], int],
    amount: Callable[[str], float],
) -> None:
    """Add the options to a parser.

    Args:
        steps: names of the steps that can be distilled.
        positive, amount: read a whole number of at least 1, and a number over 0.
    """
    parser.add_argument(
        "step",
        nargs="?",
        metavar="STAGE",
        help=f"learn from the warehouse's replies of this step: {', '.join(steps)}",
    )
    parser.add_argument(
        "--base",
        required=True,
        metavar="MODEL",
        help="the small model: a folder, a name on the Hugging Face hub, a GGUF file, or 'packaged' for the "
        "embedded one",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the adapter")
    parser.add_argument(
        "--examples",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="JSON lines with prompt and reply, and optionally document, task and choices",
    )
    parser.add_argument(
        "--held-out",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share of the documents to hold out (0.1)",
    )
    parser.add_argument(
        "--compare", type=positive, default=100, metavar="N", help="held-out examples to compare on (100)"
    )
    parser.add_argument(
        "--most", type=positive, default=20_000, metavar="N", help="maximum of replies to learn from (20000)"
    )
    parser.add_argument(
        "--epochs", type=positive, default=3, metavar="N", help="passes over the examples (3)"
    )
    parser.add_argument(
        "--rank", type=positive, default=16, metavar="N", help="rank of the LoRA matrices (16)"
    )
    parser.add_argument(
        "--learning-rate", type=amount, default=8e-4, metavar="X", help="peak learning rate (8e-4)"
    )
    parser.add_argument(
        "--max-tokens", type=positive, default=1024, metavar="N", help="tokens per training step (1024)"
    )
    parser.add_argument("--max-minutes", type=amount, metavar="M", help="stop training after M minutes")
    parser.add_argument("--end", help="text that ends a reply; default: the model's end-of-message token")
    parser.add_argument("--seed", type=int, default=0, help="random seed (0)")
