"""LoRA on examples: transformers and peft, loss on the replies alone, seeded, resumable, bounded in time.

The method is that of Hu et al., LoRA (2021), on all linear layers but the output's.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webscale_rl.distill.examples import Example
from webscale_rl.distill.packing import Packed, Tree, pack, trees
from webscale_rl.errors import ConfigError

_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Hyperparameters:
    """How an adapter is trained.

    Attributes:
        rank, alpha: of the LoRA matrices; their product is scaled by alpha / rank.
        learning_rate: the highest; it rises over the first twentieth of the steps and falls along a cosine.
        epochs: times that every example is seen.
        max_tokens: tokens of one step's sequence; longer examples are left out.
        choice_weight: what a token of a chosen reply counts beside one of a written reply. A verdict is
            one word and a question twenty: beside each other, verdicts would otherwise hardly be learned.
        end: text behind each reply, which stops the model; None is the tokenizer's end of a message.
        seed: of the first weights and of the order.
        checkpoint_minutes: how often what was done is saved.
        max_minutes: training ends then, with what it has; None: no bound.
        threads: of torch; None: its own choice.
    """

    rank: int = 16
    alpha: int = 32
    learning_rate: float = 8e-4
    epochs: int = 3
    max_tokens: int = 1024
    choice_weight: float = 3.0
    end: str | None = None
    seed: int = 0
    checkpoint_minutes: float = 5
    max_minutes: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Trained:
    """What training took: steps done of all, tokens read, seconds, and the weighted loss of the last 5%."""

    steps: int
    of_steps: int
    tokens: int
    seconds: float
    loss: float


def require() -> Any:
    """torch, with its companions at hand.

    Raises:
        ConfigError: a package is missing.
    """
    try:
        import peft  # noqa: F401
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"distill needs more packages: pip install 'webscale-rl[distill]' ({error})"
        ) from error
    return torch


def load_base(base: str) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, in float32 on the processor.

    Args:
        base: a folder, a name on the Hugging Face hub, or a GGUF file, which is dequantised.

    Raises:
        ConfigError: there is no such model.
    """
    require()
    from transformers import AutoModelForCausalLM, GgufConfig

    folder, options = base, dict[str, Any]()
    if base.endswith(".gguf"):
        folder = str(Path(base).parent)
        options = {"gguf_file": Path(base).name, "quantization_config": GgufConfig(dequantize=True)}
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **options)
        return model, load_tokenizer(base)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no model at {base}: {' '.join(str(error).split())[:300]}") from error


def load_tokenizer(base: str) -> Any:
    """The base's tokenizer (see `load_base`)."""
    require()
    from transformers import AutoTokenizer

    if base.endswith(".gguf"):
        return AutoTokenizer.from_pretrained(str(Path(base).parent), gguf_file=Path(base).name)
    return AutoTokenizer.from_pretrained(base)


def train(
    examples: Sequence[Example],
    model: Any,
    tokenizer: Any,
    hyperparameters: Hyperparameters,
    folder: Path,
    told: Callable[[str], None] = print,
) -> tuple[Any, Trained]:
    """Train an adapter and save it into the folder, as peft does.

    A checkpoint in the folder, of the same hyperparameters and examples, is gone on from.

    Args:
        told: is given a line now and then.

    Returns:
        The model with its adapter, and what it took.

    Raises:
        ConfigError: no example fits into the recipe's sequence.
    """
    torch = require()
    from peft import LoraConfig, get_peft_model
    from peft import get_peft_model_state_dict as adapter_weights
    from peft import set_peft_model_state_dict as set_adapter_weights

    if hyperparameters.threads:
        torch.set_num_threads(hyperparameters.threads)
    torch.manual_seed(hyperparameters.seed)
    end = _end(tokenizer, hyperparameters)
    grown = list(trees(examples, tokenizer, end, hyperparameters.max_tokens, hyperparameters.choice_weight))
    if not grown:
        raise ConfigError(f"no example fits into {hyperparameters.max_tokens} tokens")
    order = _order(grown, hyperparameters)
    config = LoraConfig(
        r=hyperparameters.rank,
        lora_alpha=hyperparameters.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    halved = _halved(torch, device)
    tuned = get_peft_model(model, config).to(device)
    weights = [weight for weight in tuned.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=hyperparameters.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(order)))
    tuned.train()
    folder.mkdir(parents=True, exist_ok=True)
    made_of = _fingerprint(examples, hyperparameters)
    saved = folder / _CHECKPOINT
    first, tokens, before = 0, 0, 0.0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        if state["made_of"] == made_of:
            set_adapter_weights(tuned, state["adapter"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            first, tokens, before = state["step"], state["tokens"], state["seconds"]
            told(f"going on at step {first} of {len(order)}")

    def save(step: int, seconds: float) -> None:
        state = {
            "made_of": made_of,
            "adapter": adapter_weights(tuned),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "step": step,
            "tokens": tokens,
            "seconds": seconds,
        }
        torch.save(state, saved.with_suffix(".new"))
        saved.with_suffix(".new").replace(saved)

    started = last_saved = last_told = time.monotonic()
    losses: list[float] = []
    step = first
    for step in range(first, len(order)):
        with halved():
            loss = _loss(torch, tuned, order[step], device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        tokens += len(order[step].tokens)
        now = time.monotonic()
        if now - last_told > 30:
            rate = (tokens) / (before + now - started)
            left = (len(order) - step - 1) * (now - started) / (step + 1 - first) / 60
            recent = sum(losses[-20:]) / len(losses[-20:])
            told(
                f"step {step + 1} of {len(order)}, loss {recent:.3f}, {rate:.0f} tokens/s, "
                f"{left:.0f} min left"
            )
            last_told = now
        if now - last_saved > 60 * hyperparameters.checkpoint_minutes:
            save(step + 1, before + now - started)
            last_saved = now
        if hyperparameters.max_minutes and before + now - started > 60 * hyperparameters.max_minutes:
            told(
                f"stopped after {hyperparameters.max_minutes:.0f} minutes, at step {step + 1} of {len(order)}"
            )
            break
    seconds = before + time.monotonic() - started
    tuned.eval()
    tuned.save_pretrained(folder)
    saved.unlink(missing_ok=True)
    last = losses[-max(len(order) // 20, 1) :]
    mean = sum(last) / len(last) if last else math.nan
    return tuned, Trained(min(step + 1, len(order)), len(order), tokens, seconds, mean)


def _halved(torch: Any, device: str) -> Callable[[], Any]:
    """Products in bfloat16 where the machine computes with it; elsewhere it would be slower."""
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return lambda: torch.autocast(device, torch.bfloat16, enabled=fast)


def _end(tokenizer: Any, hyperparameters: Hyperparameters) -> list[int]:
    if hyperparameters.end is not None:
        return list(tokenizer.encode(hyperparameters.end, add_special_tokens=False))
    return [tokenizer.eos_token_id]


def _order(grown: Sequence[Tree], hyperparameters: Hyperparameters) -> list[Packed]:
    """The sequences of all epochs; every epoch puts other documents together."""
    chance = random.Random(hyperparameters.seed)  # noqa: S311 - nothing secret
    order: list[Packed] = []
    for _ in range(hyperparameters.epochs):
        shuffled = list(grown)
        chance.shuffle(shuffled)
        order += pack(shuffled, hyperparameters.max_tokens)
    return order


def _rate(step: int, steps: int) -> float:
    rise = max(steps // 20, 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1))) * 0.97 + 0.03


def _loss(torch: Any, tuned: Any, packed: Packed, device: str) -> Any:
    base = tuned.get_base_model()
    tokens = torch.from_numpy(packed.tokens)[None].to(device)
    mask = torch.zeros(1, 1, len(packed.tokens), len(packed.tokens), device=device)
    mask.masked_fill_(~torch.from_numpy(packed.sees).to(device)[None, None], torch.finfo(torch.float32).min)
    hidden = base.base_model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=torch.from_numpy(packed.positions)[None].to(device),
        use_cache=False,
    ).last_hidden_state[0]
    # The output layer is a fifth of a small model: only where something is predicted.
    logits = base.get_output_embeddings()(hidden[torch.from_numpy(packed.predicts).to(device)])
    predicted, weights = (torch.from_numpy(a).to(device) for a in (packed.predicted, packed.weights))
    losses = torch.nn.functional.cross_entropy(logits.float(), predicted, reduction="none")
    return (losses * weights).sum() / weights.sum()


def _fingerprint(examples: Sequence[Example], hyperparameters: Hyperparameters) -> str:
    what = {
        key: value
        for key, value in asdict(hyperparameters).items()
        if key not in ("max_minutes", "checkpoint_minutes", "threads")
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
    for example in examples:
        digest.update(json.dumps(asdict(example), sort_keys=True).encode())
    return digest.hexdigest()
