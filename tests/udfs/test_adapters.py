"""LoRA adapters beside the model, in every engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.udfs.server import Endpoint, endpoint
from tests.udfs.test_engines import body, run
from udfs.engines import worker
from udfs.engines.errors import EngineError, ModelMissingError, OptionsError
from udfs.engines.llamacpp.files import adapter_hash, packaged_adapter, packaged_model
from udfs.engines.openai import engine as client
from udfs.engines.vllm.engine import VllmEngine

QUESTION = (
    "Title: Bridges\nText: The Ash Bridge was opened in 1901 by Ada Brennan.\n"
    "Fact: The Ash Bridge was opened in 1901 by Ada Brennan.\nReader: pupil\nAnswer: Ada Brennan\nQuestion:"
)
LINE = {"max_tokens": 40, "stop": ["\n"]}


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with endpoint() as found:
        yield found
    worker.close_engine()


def identity(engine: str, **options: object) -> dict[str, object]:
    return worker.identity({"engine": engine, "options": options})


@pytest.mark.model
def test_the_packaged_adapter_is_part_of_the_identity_and_of_the_reply() -> None:
    plain, tuned = identity("llamacpp"), identity("llamacpp", adapter="packaged")
    assert (plain["adapter"], len(str(tuned["adapter"]))) == (None, 64)
    assert plain["model"] == tuned["model"]
    asked = body(QUESTION, sampling=LINE, adapter=tuned["adapter"])
    [with_it] = run({"a": asked}, engine="llamacpp", context=512, adapter="packaged")
    [without] = run({"a": body(QUESTION, sampling=LINE)}, engine="llamacpp", context=512)
    assert with_it["error"] is None
    assert with_it["text"].strip().endswith("?")
    assert "Ash Bridge" in with_it["text"]
    assert with_it["text"] != without["text"]


@pytest.mark.model
def test_a_request_for_another_adapter_is_refused() -> None:
    asked = {"none": body(QUESTION), "other": body(QUESTION, adapter="a" * 64)}
    rows = {row["request_id"]: row for row in run(asked, "llamacpp", context=512, adapter="packaged")}
    for row in rows.values():
        assert row["error"].startswith("refused_adapter: this engine has the adapter")
        assert row["fault"] == "permanent"


@pytest.mark.model
def test_what_is_no_adapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="No such file"):
        identity("llamacpp", adapter=str(tmp_path / "nothing.gguf"))
    with pytest.raises(ModelMissingError, match="is a folder"):
        identity("llamacpp", adapter=str(tmp_path))
    with pytest.raises(ModelMissingError, match="but no adapter"):
        identity("llamacpp", adapter=packaged_model())
    with pytest.raises(OptionsError, match="the packaged adapter is for the packaged model"):
        identity("llamacpp", adapter="packaged", model_path=packaged_model())
    assert identity("llamacpp", adapter=packaged_adapter(), model_path=packaged_model())["adapter"]


@pytest.mark.model
def test_the_packaged_adapter_is_found_in_a_zipped_package(tmp_path: Path) -> None:
    root = Path(worker.__file__).parents[2]
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        for path in [*(root / "udfs").rglob("*"), *(root / "webscale_rl").rglob("*")]:
            if path.suffix in (".py", ".gguf"):
                archive.write(path, path.relative_to(root))
    script = (
        "from udfs.engines.llamacpp.files import adapter_hash, packaged_adapter\n"
        "print(adapter_hash(packaged_adapter()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "package.whl"), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == adapter_hash(packaged_adapter()), done.stderr


def test_vllm_hashes_the_adapter_s_content(tmp_path: Path) -> None:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    model.mkdir()
    adapter.mkdir()
    (model / "config.json").write_text("{}")
    with pytest.raises(ModelMissingError, match=r"no adapter_config.json"):
        VllmEngine.identity({"model": str(model), "adapter": str(adapter)})
    (adapter / "adapter_config.json").write_text(json.dumps({"r": 16}))
    hashes = []
    for weights in (b"one", b"two", b"one"):
        (adapter / "adapter_model.safetensors").write_bytes(weights)
        hashes.append(VllmEngine.identity({"model": str(model), "adapter": str(adapter)})["adapter"])
    assert hashes[0] == hashes[2] != hashes[1]
    assert VllmEngine.identity({"model": str(model)})["adapter"] is None
    with pytest.raises(OptionsError, match="use the option adapter"):
        VllmEngine.identity({"model": str(model), "args": {"enable_lora": True}})


def test_an_endpoint_has_the_adapter_under_a_name(server: Endpoint) -> None:
    options = {"base_url": server.url, "model": "small", "adapter": "small-judge"}
    found = client.OpenAIEngine.identity(options)
    assert (found["model"], found["adapter"]) == ("small", "small-judge")
    asked = {"x": body("x", prompt_format="chat", adapter="small-judge"), "y": body("y", adapter=None)}
    rows = {row["request_id"]: row for row in run(asked, "openai", **options)}
    assert rows["x"]["text"] == "fine"
    assert rows["y"]["error"].startswith("refused_adapter")
    assert [sent["model"] for sent in server.calls] == ["small-judge"]
    with pytest.raises(EngineError, match="has no model 'small-judge'"):
        client.OpenAIEngine.trial(options)
