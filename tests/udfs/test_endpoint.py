"""The engine openai against a server that misbehaves on demand, and against a real one."""

from __future__ import annotations

import email.utils
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.udfs.server import Answer, Endpoint, endpoint, fault, says
from tests.udfs.test_engines import OBJECT, body, run
from udfs.engines import worker
from udfs.engines.errors import EngineError, OptionsError
from udfs.engines.openai import engine as module
from udfs.engines.openai.pacing import Pace, backoff, retry_after
from udfs.engines.openai.refusals import MANY_ALIKE

GOOD = '{"good":true,"domain":"math","readers":["a"]}'


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found
    worker.close_engine()


def ask(server: Endpoint, *prompts: str, schema: Any = None, **options: Any) -> dict[str, dict[str, Any]]:
    """Rows by prompt; ``choices`` are those of every request."""
    choices = options.pop("choices", None)
    asked = {
        prompt: body(prompt, prompt_format="chat", response_schema=schema, choices=choices)
        for prompt in prompts
    }
    given = {"base_url": server.url, "model": "small", "attempts": 3, **options}
    return {row["request_id"]: row for row in run(asked, "openai", **given)}


def test_a_reply_comes_with_all_that_is_counted(server: Endpoint) -> None:
    row = ask(server, "hello")["hello"]
    assert (row["text"], row["finish_reason"], row["fault"]) == ("fine", "stop", None)
    assert (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]) == (11, 8, 2)
    assert (row["mean_logprob"], row["min_logprob"]) == (-1.0, -1.5)
    (sent,) = server.calls
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["seed"]) == ("small", 8, 0.0, 7)
    assert sent["messages"] == [{"role": "user", "content": "hello"}]
    assert not {"top_k", "min_p", "top_p", "repeat_penalty", "stop", "response_format"} & set(sent)
    # Nobody's key goes to an endpoint that was not said to need it.
    assert server.keys == ["Bearer none"]


def test_sampling_is_sent_where_it_changes_something(server: Endpoint) -> None:
    sampling = {"top_p": 0.9, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.1, "stop": ["\n"]}
    asked = {"x": body("x", prompt_format="chat", sampling=sampling, sample=2)}
    options = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}, "omit": ["temperature"]}
    run(asked, "openai", base_url=server.url, model="small", **options)
    (sent,) = server.calls
    assert (sent["top_p"], sent["top_k"], sent["min_p"], sent["stop"]) == (0.9, 5, 0.1, ["\n"])
    assert sent["repetition_penalty"] == sent["repeat_penalty"] == 1.1
    assert sent["seed"] == 7 + 2 * 1_000_003
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert "temperature" not in sent


def test_what_fails_for_a_while_is_asked_again(server: Endpoint) -> None:
    server.script = {
        "broken": [fault(500, "oops"), fault(502, "oops"), says("at last")],
        "cut": [Answer(says("long text").body, cut=True), says("whole")],
        "page": [Answer(b"<html>Welcome</html>"), says("data")],
        "nothing": [Answer({"choices": None}), says("something")],
    }
    rows = ask(server, "broken", "cut", "page", "nothing", "other")
    assert {key: row["text"] for key, row in rows.items()} == {
        "broken": "at last",
        "cut": "whole",
        "page": "data",
        "nothing": "something",
        "other": "fine",
    }


def test_what_goes_on_failing_is_a_passing_fault_of_its_row_alone(server: Endpoint) -> None:
    server.script = {
        "broken": [fault(500, "oops")],
        "slow": [Answer(says("late").body, delay=3.0)],
        "page": [Answer(b"<html>Welcome</html>")],
    }
    # Long enough for the others on a machine that is busy.
    rows = ask(server, "broken", "slow", "page", "other", attempts=1, timeout=2.0)
    assert {key: (row["fault"], (row["error"] or "").split(":")[0]) for key, row in rows.items()} == {
        "broken": ("transient", "server_error"),
        "slow": ("transient", "timed_out"),
        "page": ("transient", "bad_reply"),
        "other": (None, ""),
    }


def test_a_server_that_sends_drop_by_drop_does_not_hold_a_request_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # It accepts, and never says a word.
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        started = time.monotonic()
        options = {"base_url": url, "model": "small", "attempts": 1, "timeout": 0.3}
        (row,) = run({"x": body("x", prompt_format="chat")}, "openai", **options)
    assert row["error"].startswith("timed_out")
    assert time.monotonic() - started < 5
    worker.close_engine()


def test_refused_for_load_it_waits_as_long_as_it_is_told_and_sends_less(server: Endpoint) -> None:
    server.script = {"busy": [fault(429, "slow down", retry_after="1"), says("now")]}
    started = time.monotonic()
    rows = ask(server, "busy", *[f"p{n}" for n in range(6)], concurrency=4, attempts=1)
    assert time.monotonic() - started >= 1.0
    assert rows["busy"]["text"] == "now"
    assert all(row["fault"] is None for row in rows.values())
    assert server.most_at_once <= 4


def test_patience_ends(server: Endpoint) -> None:
    server.script = {"busy": [fault(429, "slow down", retry_after="30")]}
    row = ask(server, "busy", patience=5)["busy"]
    assert (row["fault"], row["error"].split(":")[0]) == ("transient", "overloaded")


def test_what_is_wrong_with_one_request_for_good_is_its_own_fault(server: Endpoint) -> None:
    server.script = {
        "long": [fault(400, "This model's maximum context length is 4096 tokens", "context_length_exceeded")],
        "large": [Answer({}, 413)],
        "odd": [fault(422, "cannot be processed")],
        "filtered": [says(None, "content_filter")],
        "declined": [says(None, refusal="I cannot help with that.")],
    }
    rows = ask(server, "long", "large", "odd", "filtered", "declined", "other")
    assert {key: (row["fault"], (row["error"] or "").split(":")[0]) for key, row in rows.items()} == {
        "long": ("permanent", "prompt_too_long"),
        "large": ("permanent", "prompt_too_long"),
        "odd": ("permanent", "refused_request"),
        "filtered": ("permanent", "content_filter"),
        "declined": ("permanent", "refused_by_model"),
        "other": (None, ""),
    }
    # And a greeting, since the odd refusal says nothing that is known.
    assert [call["messages"][0]["content"] for call in server.calls[6:]] == ["Hello"]


@pytest.mark.parametrize(
    ("status", "said", "name"),
    [
        (401, "Incorrect API key provided", "refused_key"),
        (402, "Insufficient Balance", "refused_account"),
        (405, "Method Not Allowed", "not_found"),
        (412, "Precondition failed", "refused_account"),
        (423, "Locked", "refused_account"),
        (400, "API key not valid. Please pass a valid API key.", "refused_key"),
        (400, "Your credit balance is too low", "refused_account"),
        (422, "This account has been suspended", "refused_account"),
        (403, "Forbidden", "refused_key"),
        (400, "Model 'small' is not served here", "not_found"),
        (404, "The model `small` does not exist", "not_found"),
        (400, "computer says no", "refused_all"),
    ],
)
def test_what_every_request_would_meet_rejects_none_and_ends_the_task(
    server: Endpoint, status: int, said: str, name: str
) -> None:
    server.script = {"": [fault(status, said)]}
    rows = ask(server, *[f"p{n}" for n in range(100)], concurrency=2)
    assert {(row["fault"], row["error"]) for row in rows.values()} == {("engine", f"{name}: {status} {said}")}
    # A refusal that says nothing that is known has to come often.
    assert len(server.calls) <= (MANY_ALIKE + 3 if name == "refused_all" else 4)


def test_a_quota_that_is_spent_is_no_matter_of_pace(server: Endpoint) -> None:
    server.script = {"": [fault(429, "You exceeded your current quota", "insufficient_quota")]}
    rows = ask(server, "p1", "p2")
    assert {(row["fault"], row["error"].split(":")[0]) for row in rows.values()} == {
        ("engine", "out_of_quota")
    }


def test_one_moderated_prompt_is_rejected_alone(server: Endpoint) -> None:
    server.script = {"bad": [fault(403, "Your input was flagged by moderation")]}
    rows = ask(server, "one", "bad", "two", "three", concurrency=1)
    assert {key: (row["fault"], (row["error"] or "").split(":")[0]) for key, row in rows.items()} == {
        "one": (None, ""),
        "bad": ("permanent", "moderated"),
        "two": (None, ""),
        "three": (None, ""),
    }


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "computer says no"),
        (403, "Forbidden"),  # a firewall that dislikes a word
        (400, "cannot process: 'my account was suspended because of an unpaid bill'"),  # repeats the prompt
        (422, "no such model of a car"),
    ],
)
def test_what_is_refused_while_others_are_answered_is_that_request_s(
    server: Endpoint, status: int, said: str
) -> None:
    server.script = {"odd": [fault(status, said)]}
    rows = ask(server, "odd1", *[f"p{n}" for n in range(6)], "odd2", concurrency=2)
    odd = {row["error"] for key, row in rows.items() if key.startswith("odd")}
    assert odd == {f"refused_request: {status} {said}"}
    assert [row["fault"] for key, row in rows.items() if key.startswith("odd")] == ["permanent", "permanent"]
    assert all(row["text"] == "fine" for key, row in rows.items() if key.startswith("p"))


def test_an_account_that_is_locked_half_way_rejects_nothing(server: Endpoint) -> None:
    server.script = {"p": [*[says("fine")] * 5, fault(400, "computer says no")], "Hello": [fault(400, "no")]}
    rows = ask(server, *[f"p{n}" for n in range(60)], concurrency=2)
    faults = [row["fault"] for row in rows.values()]
    assert (faults.count(None), faults.count("engine")) == (5, 55)


def test_many_refusals_alike_are_permanent_where_the_endpoint_answers_others(server: Endpoint) -> None:
    server.script = {"odd": [fault(400, "computer says no")]}
    odd = [f"odd{n}" for n in range(MANY_ALIKE + 10)]
    # Of an engine that has answered nothing but the greeting, nobody knows.
    assert {row["fault"] for row in ask(server, *odd, concurrency=1).values()} == {"engine"}
    rows = ask(server, "good", *odd, concurrency=1)
    assert {row["fault"] for key, row in rows.items() if key != "good"} == {"permanent"}


def test_a_refusal_that_nobody_could_tell_about_stays_pending(server: Endpoint) -> None:
    server.script = {"odd": [fault(400, "computer says no")], "Hello": [fault(500, "oops")]}
    row = ask(server, "odd", attempts=1)["odd"]
    assert (row["fault"], row["error"]) == ("transient", "refused_request: 400 computer says no")


def test_a_refused_key_is_neither_tried_again_nor_shown(
    server: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "sk-very-secret")
    server.script = {"p": [fault(401, "Incorrect API key provided: sk-very-secret")]}
    rows = ask(server, *[f"p{n}" for n in range(50)], concurrency=2, api_key_env="THEIR_KEY")
    assert {row["fault"] for row in rows.values()} == {"engine"}
    assert {row["error"] for row in rows.values()} == {"refused_key: 401 Incorrect API key provided: ***"}
    assert len(server.calls) <= 2
    assert set(server.keys) == {"Bearer sk-very-secret"}


def test_a_dead_endpoint_is_not_waited_for_once_a_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    started = time.monotonic()
    asked = {f"p{n}": body(f"p{n}", prompt_format="chat") for n in range(200)}
    rows = run(asked, "openai", base_url=url, model="small", attempts=2, concurrency=4)
    assert len(rows) == 200
    assert {row["error"].split(":")[0] for row in rows} == {"unreachable"}
    assert time.monotonic() - started < 10
    worker.close_engine()


def test_json_is_asked_for_under_its_schema(server: Endpoint) -> None:
    server.script = {"x": [says(GOOD)]}
    assert ask(server, "x", schema=OBJECT)["x"]["text"] == GOOD
    described = server.calls[0]["response_format"]["json_schema"]
    assert list(described["schema"]["properties"]) == OBJECT["required"]


@pytest.mark.parametrize("refusal", ["refused", "ignored"])
def test_a_server_without_schemas_is_told_the_schema_in_words(server: Endpoint, refusal: str) -> None:
    no = (
        fault(400, "response_format.type json_schema is not supported")
        if refusal == "refused"
        else says("Hi")
    )
    server.script = {
        "valid under this JSON schema": [says(f"```json\n{GOOD}\n```")],
        "x": [no],
    }
    rows = ask(server, "x1", schema=OBJECT)
    assert rows["x1"]["text"] == GOOD
    ways = [(call.get("response_format") or {}).get("type") for call in server.calls]
    assert ways == ["json_schema", "json_object"]
    # Later requests are asked that way at once.
    assert ask(server, "x2", schema=OBJECT)["x2"]["text"] == GOOD
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (says(None, reasoning_content=GOOD), ""),
        (says(""), ""),
        (says(f"<think>a metal</think>\n{GOOD}"), f"<think>a metal</think>\n{GOOD}"),
    ],
    ids=["thought", "empty", "thought_before"],
)
def test_a_reply_that_is_empty_or_has_a_thought_does_not_change_the_mode(
    server: Endpoint, first: Answer, text: str
) -> None:
    server.script = {"x": [first], "y": [says(GOOD)]}
    row = ask(server, "x", schema=OBJECT)["x"]
    assert (row["text"], row["fault"], row["finish_reason"]) == (text, None, "stop")
    assert ask(server, "y", schema=OBJECT)["y"]["text"] == GOOD
    assert [call["response_format"]["type"] for call in server.calls] == ["json_schema", "json_schema"]


def test_one_bad_schema_changes_nothing_for_the_others(server: Endpoint) -> None:
    server.script = {"good": [says(GOOD)], "bad": [fault(400, "Invalid schema for response_format")]}
    assert ask(server, "good", schema=OBJECT)["good"]["text"] == GOOD
    rows = ask(server, "bad", "good", schema=OBJECT)
    assert rows["bad"]["error"].startswith("refused_schema")
    assert {call["response_format"]["type"] for call in server.calls} == {"json_schema"}


def test_what_a_server_lacks_is_left_out(server: Endpoint) -> None:
    server.script = {
        "x": [
            fault(400, "logprobs is not supported by this model"),
            fault(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            says("fine"),
        ]
    }
    assert ask(server, "x")["x"]["text"] == "fine"
    assert "logprobs" not in server.calls[-1]
    assert server.calls[-1]["max_completion_tokens"] == 8


def test_choices_are_made_within_an_object(server: Endpoint) -> None:
    server.script = {"x": [says('{"choice":"iron"}')], "y": [says('{"choice":"gold"}')]}
    rows = ask(server, "x", "y", choices=["iron", "tin"])
    assert (rows["x"]["text"], rows["x"]["choice_logprobs"]) == ("iron", None)
    assert rows["y"]["error"].startswith("choice_not_made")


def test_raw_prompts_go_to_the_endpoint_for_them(server: Endpoint) -> None:
    reply = {"choices": [{"index": 0, "finish_reason": "length", "text": " is"}], "usage": None}
    server.script = {"Iron": [Answer(reply)]}
    (row,) = run({"x": body("Iron")}, "openai", base_url=server.url, model="small")
    assert (row["text"], row["finish_reason"], row["prompt_tokens"]) == (" is", "length", 0)
    assert server.calls[0]["prompt"] == "Iron"


def test_identity_is_the_model_and_not_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"base_url": "http://localhost:1/v1", "model": "small", "revision": "3"}
    one = worker.identity({"engine": "openai", "options": options})
    other = worker.identity(
        {"engine": "openai", "options": options | {"base_url": "http://127.0.0.1/v1", "concurrency": 2}}
    )
    assert one == other
    assert one["model"] == "small@3"
    for change in ({"revision": "4"}, {"extra_body": {"x": 1}}, {"response_format": "prompt"}):
        assert worker.identity({"engine": "openai", "options": options | change}) != one
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(OptionsError, match="OPENAI_API_KEY"):
        worker.identity({"engine": "openai", "options": {"model": "small"}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": "sk-1"}, "does not belong in a configuration"),
        ({"model": None}, "model is missing"),
        ({"base_url": "localhost:8000"}, "must be an address"),
        ({"base_url": "http://me:secret@host/v1"}, "must not contain a user or password"),
        ({"response_format": "xml"}, "must be of json_schema"),
        ({"concurrency": 0}, ">= 1"),
        ({"omit": ["model"]}, "names 'model'"),
        ({"api_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"modle": "small"}, "did you mean 'model'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], said: str) -> None:
    given = {"base_url": "http://localhost:1/v1", "model": "small"} | options
    with pytest.raises(OptionsError, match=said) as caught:
        worker.identity({"engine": "openai", "options": given})
    assert "sk-1" not in str(caught.value)
    assert "me:secret" not in str(caught.value)


def test_a_trial_says_what_is_wrong(server: Endpoint) -> None:
    assert "has it" in module.OpenAIEngine.trial({"base_url": server.url, "model": "small"})
    with pytest.raises(EngineError, match="no model 'large': it has small"):
        module.OpenAIEngine.trial({"base_url": server.url, "model": "large"})
    with pytest.raises(EngineError, match="does not answer"):
        module.OpenAIEngine.trial({"base_url": "http://127.0.0.1:1/v1", "model": "small"})


def test_headers_say_how_long_to_wait() -> None:
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    soon = retry_after({"retry-after": email.utils.formatdate(time.time() + 10, usegmt=True)})
    assert soon is not None
    assert 8 <= soon <= 10
    assert retry_after({"retry-after": "-3"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
    assert backoff(1) < backoff(4) <= backoff(50) * 1.7 <= 60 * 1.25 * 1.7


def test_the_pace_halves_once_for_what_was_refused_together_and_grows_slowly() -> None:
    pace = Pace(16)
    for _ in range(10):
        pace.throttled(5.0)
    assert pace.limit == 8
    for _ in range(8):
        pace.succeeded()
    assert pace.limit == 8
    for _ in range(500):
        pace.succeeded()
    assert pace.limit == 16


def test_a_real_server_of_llama_cpp() -> None:
    xllamacpp = pytest.importorskip("xllamacpp", reason="the embedded engine is not installed")
    from udfs.engines.llamacpp.files import packaged_model

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    params = xllamacpp.CommonParams()
    params.model.path = packaged_model()
    params.n_ctx, params.n_parallel, params.cache_ram_mib, params.verbosity = 1024, 2, 0, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup, params.hostnames, params.port = False, ["127.0.0.1"], port
    server = xllamacpp.Server(params)
    options = {"base_url": f"http://127.0.0.1:{port}/v1", "model": "any"}
    asked = {
        "free": body("What is iron?", prompt_format="chat"),
        "json": body(
            "Is iron a metal?",
            prompt_format="chat",
            response_schema=OBJECT,
            sampling={"max_tokens": 80},
        ),
        "long": body("iron " * 3000, prompt_format="chat"),
    }
    rows = {row["request_id"]: row for row in run(asked, "openai", **options)}
    worker.close_engine()
    del server
    assert rows["free"]["completion_tokens"] > 0
    assert rows["free"]["mean_logprob"] < 0
    assert set(json.loads(rows["json"]["text"])) == set(OBJECT["required"])
    assert rows["long"]["error"].startswith("prompt_too_long")
