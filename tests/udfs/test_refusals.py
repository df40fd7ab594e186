"""Whose fault a refusal is, by status and body as providers word them."""

from __future__ import annotations

import pytest

from tests.udfs.test_engines import body
from udfs.engines.base import Request
from udfs.engines.openai.refusals import Held, Judgement, Refused, greeting, is_unpaid, judge


@pytest.mark.parametrize(
    ("status", "code", "said", "about", "name", "suspect"),
    [
        (400, "context_length_exceeded", "Please shorten", "request", "prompt_too_long", None),
        (400, "", "This model's maximum context length is 4096 tokens", "request", "prompt_too_long", None),
        (413, "", "Payload Too Large", "request", "prompt_too_long", None),
        (400, "content_filter", "The response was filtered", "request", "content_filter", None),
        (400, "content_policy_violation", "rejected by our safety system", "request", "moderated", None),
        (403, "403", "requires moderation on OpenAI. Your input was flagged", "request", "moderated", None),
        (400, "", "Invalid schema for response_format 'reply'", "request", "refused_schema", None),
        (400, "", "'temperature' must be at most 2", "unknown", "refused_request", None),
        (402, "", "flagged", "engine", "refused_account", None),
        (400, "billing_hard_limit_reached", "no", "unknown", "refused_request", "refused_account"),
        (403, "", "Your organization has been deactivated", "unknown", "refused_request", "refused_account"),
        (403, "", "Your account was flagged and is suspended", "unknown", "moderated", "refused_account"),
        (400, "invalid_api_key", "no", "unknown", "refused_request", "refused_key"),
        (403, "", "<html>Blocked</html>", "unknown", "refused_request", "refused_key"),
        (400, "model_not_found", "no", "unknown", "refused_request", "not_found"),
        (400, "", "model has been decommissioned", "unknown", "refused_request", "not_found"),
    ],
)
def test_a_refusal_is_told_by_status_and_body(
    status: int, code: str, said: str, about: str, name: str, suspect: str | None
) -> None:
    assert judge(status, code, said) == Judgement(about, name, suspect)  # type: ignore[arg-type]


def test_what_is_spent_and_what_is_too_fast_are_both_429() -> None:
    assert is_unpaid("insufficient_quota", "")
    assert is_unpaid("", "Your account org-1 is suspended, please check your plan and billing details")
    assert not is_unpaid("", "You exceeded your current quota, please check your plan and billing details")
    assert not is_unpaid("rate_limit_exceeded", "Rate limit reached for requests")


def refused(said: str, at: float) -> Refused:
    request = Request.parse(said, body(said))
    return Refused(request, Judgement("unknown", "refused_request"), said, at, 0.1)


def test_only_what_was_sent_later_shows_that_others_are_answered() -> None:
    held = Held()
    assert held.add(refused("400 request 7f3a: no 'luck'", 1.0)) == 1
    assert held.add(refused("400 request 91bc: no 'way'", 2.0)) == 2
    assert held.add(refused("422 no", 3.0)) == 1
    assert held.answered(sent=0.5) == []
    assert [one.error for one in held.answered(sent=1.5)] == ["refused_request: 400 request 7f3a: no 'luck'"]
    assert [one.fault for one in held.given_back("engine", "refused_all")] == ["engine", "engine"]
    assert not held


def test_a_greeting_is_asked_as_the_request_was() -> None:
    request = Request.parse("a", body("x" * 9000, adapter="lora", choices=["a", "b"], sample=3))
    hello = greeting(request)
    assert (hello.raw_prompt(), hello.choices, hello.response_schema) == ("Hello", None, None)
    assert (hello.prompt_format, hello.adapter, hello.sampling.seed) == ("raw", "lora", 7)
