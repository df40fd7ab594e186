"""Training adapters, with a tiny model of random weights: exact, seeded, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed here: make test-vllm")
pytest.importorskip("peft", reason="peft is not installed here: make test-vllm")

from tests.vllm_cpu.peft_folder import write_peft  # noqa: E402
from webscale_rl.distill import training  # noqa: E402
from webscale_rl.distill.evaluate import agreement  # noqa: E402
from webscale_rl.distill.examples import Example  # noqa: E402
from webscale_rl.distill.gguf_adapter import write_gguf  # noqa: E402
from webscale_rl.distill.packing import pack, trees  # noqa: E402
from webscale_rl.distill.training import Hyperparameters  # noqa: E402
from webscale_rl.errors import ConfigError  # noqa: E402

EXAMPLES = [
    Example(f"the colour of {thing} is", f" {colour}", thing)
    for thing, colour in {"grass": "green", "snow": "white", "coal": "black", "blood": "red"}.items()
] + [Example("the colour of grass was", " green", "grass")]


class Letters:
    """One token a letter."""

    eos_token_id = 1

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) % 126 + 2 for letter in text]

    def decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        return "".join(chr(int(token) - 2) for token in tokens if int(token) > 1)


def tiny() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.2,
        )
    ).eval()


def recipe(**changes: Any) -> Hyperparameters:
    return Hyperparameters(
        **{"rank": 4, "alpha": 8, "learning_rate": 2e-2, "epochs": 30, "max_tokens": 200} | changes
    )


def quiet(line: str) -> None:
    """Nobody is told."""


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    monkeypatch.setattr(training, "_halved", lambda *_: contextlib.nullcontext)


def test_a_packed_sequence_costs_each_example_what_it_costs_alone() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    end = [Letters.eos_token_id]
    (together,) = pack(list(trees(EXAMPLES, Letters(), end, 500)), 500)
    whole = float(training._loss(torch, model, together, "cpu").detach()) * len(together.predicts)
    apart = 0.0
    for example in EXAMPLES:
        prompt, reply = Letters().encode(example.prompt), [*Letters().encode(example.reply), *end]
        ids = torch.tensor([prompt + reply])
        likely = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        apart -= sum(float(likely[len(prompt) - 1 + n, token]) for n, token in enumerate(reply))
    assert whole == pytest.approx(apart, rel=1e-4)


def test_it_learns_and_the_same_seed_gives_the_same_digits(tmp_path: Path) -> None:
    losses = []
    for name in ("a", "b"):
        tuned, done = training.train(EXAMPLES, tiny(), Letters(), recipe(epochs=300), tmp_path / name, quiet)
        losses.append(done.loss)
        assert (done.steps, done.of_steps) == (300, 300)
        assert (tmp_path / name / "adapter_model.safetensors").exists()
    assert losses[0] == losses[1]
    found = agreement(tuned, Letters(), EXAMPLES, None, None, 12)
    with tuned.disable_adapter():
        before = agreement(tuned, Letters(), EXAMPLES, None, None, 12)
    assert (found.whole, before.whole) == (1.0, 0.0)


def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training.train(EXAMPLES, tiny(), Letters(), recipe(), tmp_path / "whole", quiet)[1]
    calls, loss = 0, training._loss

    def killed(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt
        return loss(*given)

    often = recipe(checkpoint_minutes=0)
    monkeypatch.setattr(training, "_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        training.train(EXAMPLES, tiny(), Letters(), often, tmp_path / "cut", quiet)
    told: list[str] = []
    resumed = training.train(EXAMPLES, tiny(), Letters(), often, tmp_path / "cut", told.append)[1]
    assert told[0] == "going on at step 11 of 30"
    assert resumed.loss == pytest.approx(whole.loss, rel=1e-6)


def test_time_is_bounded(tmp_path: Path) -> None:
    done = training.train(EXAMPLES, tiny(), Letters(), recipe(max_minutes=1e-9), tmp_path, quiet)[1]
    assert (done.steps, done.of_steps) == (1, 30)
    assert (tmp_path / "adapter_model.safetensors").exists()


def test_an_adapter_goes_to_gguf_and_back(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = tiny()
    config = model.config
    training.train(EXAMPLES, model, Letters(), recipe(epochs=3), tmp_path / "a", quiet)
    write_gguf(tmp_path / "a", config, tmp_path / "a.gguf")
    write_peft(tmp_path / "a.gguf", config, "tiny", tmp_path / "b")
    before = load_file(tmp_path / "a" / "adapter_model.safetensors")
    after = load_file(tmp_path / "b" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    for name, weights in before.items():
        assert abs(weights - after[name].astype("float32")).max() < 1e-2 * max(abs(weights).max(), 1e-6), name


def test_no_examples_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no example fits into 5 tokens"):
        training.train(EXAMPLES, tiny(), Letters(), recipe(max_tokens=5), tmp_path, quiet)


def test_a_missing_base_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model at"):
        training.load_base(str(tmp_path / "nothing"))
