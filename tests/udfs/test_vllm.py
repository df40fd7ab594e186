"""The engine vllm without vLLM: how prompts begin, and what tells one model from another.

With vLLM: tests/vllm_cpu.
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.udfs.test_engines import body
from udfs.engines.base import Completion, Request
from udfs.engines.vllm.engine import VllmEngine
from udfs.engines.vllm.prompts import tokens, writes_start

MIB = 1 << 20
START = 1


class Tokenizer:
    """One token a character; the start of a sequence is written <s>, and added where it is asked for."""

    bos_token = "<s>"

    def __init__(self, template: str) -> None:
        self.template = template

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        written = [START if part == "<s>" else ord(part) for part in _parts(text)]
        return [START, *written] if add_special_tokens else written

    def apply_chat_template(self, messages: list[dict[str, str]], **how: Any) -> str:
        assert how == {"tokenize": False, "add_generation_prompt": True}
        return self.template.format(messages[-1]["content"])


def _parts(text: str) -> list[str]:
    pieces = [list(piece) for piece in text.split("<s>")]
    return [*pieces[0], *itertools.chain.from_iterable(["<s>", *piece] for piece in pieces[1:])]


class Core:
    """In vLLM's place: it tokenises as vLLM does, and ends each request at once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[Any] = []
        self.seen: list[list[int]] = []

    def add_request(self, number: str, prompt: Any, sampling: Any, lora_request: Any) -> None:
        ids = prompt["prompt_token_ids"] if isinstance(prompt, dict) else self.tokenizer.encode(prompt)
        self.seen.append(ids)
        scored = [{token: SimpleNamespace(logprob=-float(token))} for token in ids]
        reply = SimpleNamespace(text="ok", finish_reason="stop", token_ids=[7], logprobs=scored[-1:])
        self.waiting.append(
            SimpleNamespace(
                finished=True,
                request_id=number,
                prompt_token_ids=ids,
                prompt_logprobs=scored,
                num_cached_tokens=0,
                outputs=[reply],
            )
        )

    def step(self) -> list[Any]:
        done, self.waiting = self.waiting, []
        return done


def engine(monkeypatch: pytest.MonkeyPatch, template: str) -> VllmEngine:
    """The engine with a core that is no vLLM's."""
    errors = SimpleNamespace(VLLMValidationError=type("VLLMValidationError", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(exceptions=errors))
    monkeypatch.setitem(sys.modules, "vllm.exceptions", errors)
    made = VllmEngine.__new__(VllmEngine)
    made._tokenizer = Tokenizer(template)
    made._engine = Core(made._tokenizer)
    made._vllm = SimpleNamespace(SamplingParams=SimpleNamespace)
    made._kind = made._structured = made._lora = made._adapter = None
    made._window, made._numbers = 4, itertools.count()
    return made


@pytest.mark.parametrize("template", ["<s>[{}]", "[{}]"], ids=["written", "left_to_the_tokenizer"])
@pytest.mark.parametrize("choices", [None, ["x", "yz"]], ids=["text", "choices"])
def test_a_chat_begins_once(
    monkeypatch: pytest.MonkeyPatch, template: str, choices: list[str] | None
) -> None:
    made = engine(monkeypatch, template)
    asked = Request.parse("a", body("hi", prompt_format="chat", choices=choices))
    (done,) = made.complete([asked])
    assert isinstance(done, Completion)
    assert done.fault is None
    assert made._engine.seen == [[START, *map(ord, "[hi]"), *map(ord, choice)] for choice in choices or [""]]
    assert done.prompt_tokens == sum(map(len, made._engine.seen))
    if choices:
        assert (done.text, done.mean_logprob) == ("x", -float(ord("x")))
        assert done.choice_logprobs == [-float(ord("x")), -(ord("y") + ord("z")) / 2]


def test_a_raw_prompt_begins_as_the_tokenizer_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine(monkeypatch, "")
    list(made.complete([Request.parse("a", body("hi")), Request.parse("b", body("hi", choices=["x"]))]))
    assert made._engine.seen == [[START, *map(ord, "hi")], [START, *map(ord, "hix")]]


def test_a_tokenizer_without_a_start_is_asked_as_it_is() -> None:
    plain = Tokenizer("")
    plain.bos_token = None  # type: ignore[assignment]
    assert not writes_start(plain, "<s>x")
    assert tokens(plain, "x", is_chat=True) == plain.encode("x")


def model(folder: Path, size: int, at: int = 0, byte: bytes = b"", header: bytes = b"") -> dict[str, str]:
    """A model's folder with one file of weights: zeros, but for one byte. The options for it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(size)
        file.write(struct.pack("<Q", len(header)) + header if header else b"")
        file.seek(at)
        file.write(byte)
    return {"model": str(folder)}


@pytest.mark.parametrize(
    ("size", "at"),
    [
        (3 * MIB, 3 * MIB // 2),
        (40 * MIB, 20 * MIB + 5),
        (64 * MIB, 32 * MIB),
        (200 * MIB, 64 * MIB),
        (200 * MIB, 129 * MIB - 1),
        (200 * MIB, 0),
        (200 * MIB, 200 * MIB - 1),
    ],
)
def test_models_that_differ_anywhere_looked_at_are_two(tmp_path: Path, size: int, at: int) -> None:
    one, other = (
        VllmEngine.identity(model(tmp_path / name, size, at, byte))
        for name, byte in (("one", b"\1"), ("other", b"\2"))
    )
    assert one["model"] != other["model"]
    assert one | {"model": "", "name": ""} == other | {"model": "", "name": ""}
    assert VllmEngine.identity(model(tmp_path / "again", size, at, b"\1"))["model"] == one["model"]


def test_the_whole_header_counts(tmp_path: Path) -> None:
    # Longer than a MiB, as that of a mixture of experts; the difference is behind it.
    names = [f"layers.{n}.weight" for n in range(60_000)]
    hashes = set()
    for last in ("a", "b"):
        header = json.dumps([*names, last]).encode()
        assert len(header) > MIB
        hashes.add(VllmEngine.identity(model(tmp_path / last, 100 * MIB, header=header))["model"])
    assert len(hashes) == 2


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    first = VllmEngine.identity(model(tmp_path / "m", 5 * MIB, 3 * MIB, b"\1"))
    assert VllmEngine.identity(model(tmp_path / "m", 5 * MIB, 3 * MIB, b"\2"))["model"] != first["model"]


def test_what_a_model_was_called_before_is_known(tmp_path: Path) -> None:
    small, large = model(tmp_path / "small", 2 * MIB), model(tmp_path / "large", 5 * MIB, 2 * MIB, b"x")
    # The digest of the two ends, as it stands in warehouses.
    assert VllmEngine.identity(small)["model"] == (
        "2d4d4a8ce04fbab18a0a0888e916869593d259ace8be22c882209f92a29820ce"
    )
    assert VllmEngine.legacy_identities(small) == []
    (before,) = VllmEngine.legacy_identities(large)
    assert before["model"] == "9acba35352326c9290b9fc273666f7ad9194519df7894c9f0ac75a62af2f2984"
    found = VllmEngine.identity(large)
    assert before == found | {"model": before["model"]}
    assert found["model"] != before["model"]
    assert VllmEngine.legacy_identities({"model": "org/model", "revision": "3"}) == []
