"""From examples to an adapter, with what it can do beside its base: the work of `webscale-rl distill`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from webscale_rl.distill.card import card
from webscale_rl.distill.evaluate import agreement
from webscale_rl.distill.examples import Example, split
from webscale_rl.distill.result import Distilled
from webscale_rl.distill.training import Hyperparameters, load_base, train
from webscale_rl.errors import ConfigError


def distill(
    examples: Sequence[Example],
    base: str,
    out: Path,
    hyperparameters: Hyperparameters,
    schema: Mapping[str, Any] | None = None,
    held_out: float = 0.1,
    max_compared: int = 100,
    about: Mapping[str, str] | None = None,
    told: Callable[[str], None] = print,
) -> Distilled:
    """Train an adapter, compare it with its base on held-out documents, and write all of it to a folder.

    The folder gets adapter_model.safetensors and adapter_config.json (peft, vLLM), adapter.gguf (llama.cpp),
    figures.json and README.md, the model card.

    Args:
        base: a model's folder or name, or a GGUF file.
        schema: of the replies, where they are JSON.
        held_out: share of the documents to compare on.
        max_compared: held-out examples that are compared.
        about: what the card says of the step, the data, the teacher and the licence.
        told: is given a line now and then.

    Raises:
        ConfigError: a package or the base is missing, or there are no examples.
    """
    if not examples:
        raise ConfigError("nothing to learn from: no example is left")
    learned, held = split(examples, held_out, hyperparameters.seed)
    if not learned:
        raise ConfigError("nothing to learn from: every document was held out")
    told(f"{len(learned)} examples to learn from, {len(held)} of other documents to compare on")
    model, tokenizer = load_base(base)
    tuned_model, trained = train(learned, model, tokenizer, hyperparameters, out, told)
    compared = _spread(held, max_compared)
    before = after = None
    if compared:
        told(f"comparing on {len(compared)} examples")
        after = agreement(tuned_model, tokenizer, compared, schema, hyperparameters.end)
        with tuned_model.disable_adapter():
            before = agreement(tuned_model, tokenizer, compared, schema, hyperparameters.end)
    gguf = _gguf(out, model.config, told)
    done = Distilled(trained, before, after, (len(learned), len(held)), gguf)
    figures = asdict(done) | {"gguf": gguf.name if gguf else None, "recipe": asdict(hyperparameters)}
    (out / "figures.json").write_text(json.dumps(figures, indent=1, default=str) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(done, base, hyperparameters, dict(about or {})), encoding="utf-8")
    return done


def _spread(held: Sequence[Example], maximum: int) -> list[Example]:
    """Some of the held-out examples, evenly over all of them."""
    if len(held) <= maximum:
        return list(held)
    return [held[place * len(held) // maximum] for place in range(maximum)]


def _gguf(out: Path, config: Any, told: Callable[[str], None]) -> Path | None:
    from webscale_rl.distill.gguf_adapter import write_gguf

    path = out / "adapter.gguf"
    try:
        write_gguf(out, config, path)
    except ConfigError as error:
        told(str(error))
        return None
    return path
