"""How well a model repeats its teacher on held-out documents: whole replies, and each field of the schema."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webscale_rl.distill.examples import Example
from webscale_rl.text.normalise import normalise_answer


@dataclass(frozen=True)
class Agreement:
    """Shares of held-out replies that are the teacher's, and speed.

    Attributes:
        examples: how many were compared.
        whole: share of replies that are the same text, but for case and punctuation.
        fields: per field of the schema the share that is the same; "valid" is the share that is JSON at all.
        tokens_per_second: read and written, one request at a time.
        seconds: for one request, on average.
    """

    examples: int
    whole: float
    fields: Mapping[str, float]
    tokens_per_second: float
    seconds: float


def agreement(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    schema: Mapping[str, Any] | None,
    end: str | None,
    max_new_tokens: int = 300,
) -> Agreement:
    """Have a model answer the examples, taking the likeliest token each time, and compare.

    A choice is made among the example's choices, by their mean log-probability.
    """
    import torch

    hits: list[bool] = []
    fields: dict[str, list[bool]] = {name: [] for name in ("valid", *(schema or {}).get("properties", {}))}
    tokens, started = 0, time.monotonic()
    device = next(model.parameters()).device
    model.eval()
    for example in examples:
        prompt = tokenizer.encode(example.prompt, add_special_tokens=False)
        with torch.inference_mode():
            if example.choices:
                reply, count = _chosen(torch, model, tokenizer, prompt, example.choices, device)
            else:
                reply, count = _written(torch, model, tokenizer, prompt, end, max_new_tokens, device)
        tokens += len(prompt) + count
        hits.append(normalise_answer(reply) == normalise_answer(example.reply))
        if schema is not None:
            _compare(fields, reply, example.reply)
    seconds = time.monotonic() - started
    shares = {name: sum(found) / len(found) for name, found in fields.items() if found}
    count = max(len(examples), 1)
    return Agreement(len(examples), sum(hits) / count, shares, tokens / max(seconds, 1e-9), seconds / count)


def _written(
    torch: Any, model: Any, tokenizer: Any, prompt: list[int], end: str | None, most: int, device: Any
) -> tuple[str, int]:
    ids = torch.tensor([prompt], device=device)
    options: dict[str, Any] = {"stop_strings": [end], "tokenizer": tokenizer} if end else {}
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=most,
        do_sample=False,
        pad_token_id=tokenizer.eos_token_id,
        # What training put behind every reply.
        eos_token_id=tokenizer.eos_token_id,
        **options,
    )[0][len(prompt) :]
    text = tokenizer.decode(output, skip_special_tokens=True)
    return (text.split(end)[0] if end else text).strip(), len(output)


def _chosen(
    torch: Any, model: Any, tokenizer: Any, prompt: list[int], choices: Sequence[str], device: Any
) -> tuple[str, int]:
    scores: list[float] = []
    for choice in choices:
        ending = tokenizer.encode(choice, add_special_tokens=False)
        ids = torch.tensor([prompt + ending], device=device)
        likely = torch.log_softmax(model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float(), -1)
        scores.append(float(likely.gather(1, ids[0, len(prompt) :, None]).mean()))
    return choices[scores.index(max(scores))], 1


def _compare(fields: dict[str, list[bool]], given: str, expected: str) -> None:
    wanted, found = _read(expected), _read(given)
    if wanted is None:
        return
    fields["valid"].append(found is not None)
    for name, value in wanted.items():
        if name in fields:
            other = (found or {}).get(name)
            same = normalise_answer(str(value)) == normalise_answer(str(other))
            fields[name].append(found is not None and same)


def _read(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
