"""The configuration: what is wrong in it is one clear line, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from webscale_rl.config.load import load
from webscale_rl.errors import ConfigError
from webscale_rl.llm.engines import Engines
from webscale_rl.stages.check.gates.registry import GATES


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filtre: {}", "unknown key 'filtre' (did you mean 'filter'?)"),
        ("screen: {min_margn: 1}", "unknown key 'screen.min_margn' (did you mean 'min_margin'?)"),
        ("engines: {x: {engin: llamacpp}}", "unknown key 'engines.x.engin' (did you mean 'engine'?)"),
        ("sources: [{name: a, paths: [b], format: jsn}]", "'sources.0.format'"),
        ("sources: [{name: a, format: json}]", "'sources.0.paths' is missing"),
        ("generate: {demonstrations: many}", "'generate.demonstrations'"),
        ("check: {gates: [round_trp]}", "unknown gate 'round_trp'"),
        ("check: {gates: [lengths, lengths]}", "a gate is named twice"),
        ("- a list", "must hold a mapping"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(written(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.yml: No such file"):
        load(tmp_path / "nowhere.yml")


def test_a_file_overrides_key_by_key(tmp_path: Path) -> None:
    config = load(written(tmp_path, "filter: {languages: [de]}\ngenerate: {sampling: {temperature: 0.5}}"))
    usual = load()
    assert config.filter.languages == ["de"]
    assert config.filter.model_copy(update={"languages": usual.filter.languages}) == usual.filter
    assert config.generate.sampling.temperature == 0.5
    assert config.generate.sampling.top_p == usual.generate.sampling.top_p


def test_overrides_are_yaml_and_win(tmp_path: Path) -> None:
    path = written(tmp_path, "warehouse: there")
    config = load(path, ["generate.sampling.temperature=0.2", "filter.languages=[fr, de]", "warehouse=x"])
    assert config.generate.sampling.temperature == 0.2
    assert config.filter.languages == ["fr", "de"]
    assert config.warehouse == "x"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("temperature", "expected section.key=value"),
        ("engin.options=1", "no section 'engin' (did you mean 'engines'?)"),
        ("generate.sampling.temprature=1", "did you mean 'temperature'?"),
        ("filter.languages=[", "not valid YAML"),
    ],
)
def test_a_wrong_override_is_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(overrides=[override])
    assert message in str(error.value)


def test_paths_in_a_file_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text("{}\n")
    (tmp_path / "mine.yml").write_text("version: 1\n")
    text = (
        "sources: [{name: a, paths: [docs.jsonl], format: json}]\n"
        "generate: {prompt: mine.yml}\nscreen: {prompt: small_topic}\n"
    )
    config = load(written(tmp_path, text))
    assert config.sources[0].paths == [str(tmp_path / "docs.jsonl")]
    assert config.generate.prompt == str(tmp_path / "mine.yml")
    assert config.screen.prompt == "small_topic"


def test_a_gate_s_prompt_is_looked_for_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("version: 1", encoding="utf-8")
    text = "check: {judge: {prompt: mine.yml}, round_trip: {prompt: mine.yml}}"
    config = load(written(tmp_path, text))
    assert config.check.judge.prompt == config.check.round_trip.prompt == str(tmp_path / "mine.yml")


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no engine 'embeded'.*did you mean 'embedded'"):
        Engines(load().engines).get("embeded")


def test_a_plugin_is_registered_once_and_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from pydantic import Field
from webscale_rl.core.settings import Section
from webscale_rl.stages.check.gates.base import GATES, RuleGate

class Settings(Section):
    mark: str = Field(default="?", description="end")

class Ending(RuleGate):
    name, summary, reasons, section, settings = "ending", "It ends.", ("no_end",), "ending", Settings

    def judge(self, pair, settings):
        return None if pair.question.endswith(settings.mark) else "no_end"

def register():
    GATES.register(Ending())
"""
    (tmp_path / "some_plugin.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = written(tmp_path, "plugins: [some_plugin]\ncheck: {gates: [lengths, ending]}")
    try:
        load(path)
        config = load(path, ["check.ending.mark=x"])
        assert config.check.ending.mark == "x"
        assert load(None, ["plugins=[some_plugin]", "check.ending.mark=y"]).check.ending.mark == "y"
        with pytest.raises(ConfigError, match="there is a gate 'ending' already"):
            GATES.register(type(GATES.get("ending"))())
    finally:
        GATES._found.pop("ending", None)
    with pytest.raises(ConfigError, match="plugins: no_such_plugin cannot be imported"):
        load(None, ["plugins=[no_such_plugin]"])
