"""What was said between a stage and a model, as text: the messages, the raw reply, what it cost."""

from __future__ import annotations

import json
from typing import Any

from webscale_rl.report.history import Answered, Row
from webscale_rl.text.layout import block, clipped, field, number, short

MAX_CHOICES = 8


def exchange(
    row: Row,
    answered: Answered,
    seen: dict[str, str] | None = None,
    name: str = "",
    indent: int = 2,
) -> list[str]:
    """The prompt and the raw reply behind a row; nothing for a row that no model was asked for.

    Args:
        row: with `request_id`.
        seen: name of the step that showed a request already, by request_id; this one is added.
        name: of this step.
    """
    if not answered.asked:
        return []
    request_id = row["request_id"]
    if seen is not None and request_id in seen:
        return ["", f"{' ' * indent}the request and the reply of {seen[request_id]}, above"]
    if seen is not None:
        seen[request_id] = name
    return [*_prompt(request_id, answered, indent), *_reply(request_id, answered, indent)]


def _prompt(request_id: str, answered: Answered, indent: int) -> list[str]:
    pad = " " * indent
    rendered = answered.request
    if rendered is None:
        return ["", f"{pad}prompt: its recipe is not in the table recipes"]
    if rendered.request is None:
        return ["", f"{pad}prompt: cannot be rendered again, {rendered.problem}"]
    request = rendered.request
    lines = ["", f"{pad}prompt ({_conditions(request)})"]
    if rendered.request_id != request_id:
        lines += block(
            f"NOT what was sent: this renders as {short(rendered.request_id)}, sent was "
            f"{short(request_id)}; the code that builds it has changed since",
            indent + 2,
        )
    for message in request["messages"]:
        lines.append(f"{pad}  [{message['role']}]")
        lines += block(message["content"], indent + 4)
    if request["response_schema"] is not None:
        schema = json.dumps(request["response_schema"], ensure_ascii=False)
        lines += field("[schema]", clipped(schema, 400), indent + 2, 10)
    return lines


def _conditions(request: dict[str, Any]) -> str:
    sampling = request["sampling"]
    parts = [
        f"engine {request['engine']}",
        f"model {short(request['model'])}",
        request["prompt_format"],
        f"temperature {number(sampling['temperature'])}",
        f"at most {sampling['max_tokens']} tokens",
    ]
    if request["choices"]:
        parts.append(f"{len(request['choices'])} choices")
    return ", ".join(parts)


def _reply(request_id: str, answered: Answered, indent: int) -> list[str]:
    pad = " " * indent
    reply = answered.completion
    if reply is None:
        return ["", f"{pad}reply: none in the table completions (request {short(request_id)})"]
    cached = f" ({reply['cached_tokens']} cached)" if reply["cached_tokens"] else ""
    parts = [
        str(reply["finish_reason"]),
        f"{reply['prompt_tokens'] or 0} tokens{cached} in, {reply['completion_tokens'] or 0} out",
        f"{number(reply['seconds'])} s",
    ]
    if reply["mean_logprob"] is not None:
        parts.append(f"mean log-probability {number(reply['mean_logprob'])}")
    lines = ["", f"{pad}reply ({', '.join(parts)})"]
    if reply["error"]:
        lines += field("error", reply["error"], indent + 2, 10)
    lines += block(reply["text"], indent + 4)
    return lines + _choices(answered, reply, indent)


def _choices(answered: Answered, reply: Row, indent: int) -> list[str]:
    request = answered.request.request if answered.request else None
    choices, scores = (request or {}).get("choices"), reply["choice_logprobs"]
    if not choices or not scores or len(choices) != len(scores):
        return []
    scored = [(score, choice) for choice, score in zip(choices, scores, strict=True) if score is not None]
    ranked = sorted(scored, key=lambda pair: -pair[0])
    shown = ", ".join(f"{choice.strip()} {number(score)}" for score, choice in ranked[:MAX_CHOICES])
    rest = f", and {len(choices) - MAX_CHOICES} less likely ones" if len(choices) > MAX_CHOICES else ""
    return field("choices", f"{shown}{rest}", indent + 2, 10)
