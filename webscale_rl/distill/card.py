"""The model card of an adapter, and the table of what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from webscale_rl.distill.training import Hyperparameters

if TYPE_CHECKING:
    from webscale_rl.distill.result import Distilled


def comparison(done: Distilled) -> str:
    """Base against tuned on held-out documents, as a Markdown table; empty where none were held out."""
    if done.base is None or done.tuned is None:
        return ""
    rows = [
        ("replies like the teacher's", f"{done.base.whole:.3f}", f"{done.tuned.whole:.3f}"),
        *(
            (f"field {name}", f"{done.base.fields.get(name, 0.0):.3f}", f"{share:.3f}")
            for name, share in done.tuned.fields.items()
        ),
        ("tokens/s", f"{done.base.tokens_per_second:.0f}", f"{done.tuned.tokens_per_second:.0f}"),
        (
            "hours for 1,000 requests",
            f"{done.base.seconds / 3.6:.2f}",
            f"{done.tuned.seconds / 3.6:.2f}",
        ),
    ]
    lines = [f"| {done.tuned.examples} held-out examples | base | tuned |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def card(done: Distilled, base: str, used: Hyperparameters, about: Mapping[str, str]) -> str:
    """The model card, in Markdown.

    Args:
        about: further lines: what it is for, the data, the teacher, the licence.
    """
    trained = done.trained
    facts = {
        "base": base.rpartition("/")[2] if base.endswith(".gguf") else base,
        **about,
        "examples": f"{done.examples[0]} learned from, {done.examples[1]} of other documents held out",
        "training": (
            f"LoRA of rank {used.rank}, alpha {used.alpha}, learning rate {used.learning_rate}, "
            f"{used.epochs} epochs, seed {used.seed}, a choice's tokens weigh {used.choice_weight:g}: "
            f"{trained.steps} of {trained.of_steps} steps, "
            f"{trained.tokens:,} tokens, {trained.seconds / 60:.0f} minutes, last loss {trained.loss:.3f}"
        ),
    }
    lines = ["# A LoRA adapter", "", *(f"- {name}: {value}" for name, value in facts.items())]
    table = comparison(done)
    return "\n".join([*lines, *(["", table] if table else [])]) + "\n"
