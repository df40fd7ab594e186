"""An engine, from this one file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.helpers import by_stage, collected, documents, make_pipeline
from udfs.engines.base import Completion, Engine, Request
from webscale_rl import Pipeline
from webscale_rl.cli.doctor import examine
from webscale_rl.report.show import show

NAME = "tests.extending.test_engine:Parrot"


class Parrot(Engine):
    """Repeats the last word of a prompt; dies once, where it is told to."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """What replies depend on."""
        return {"engine": "parrot", "model": "parrot-1", "template": None, "dtype": "none"}

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion a request."""
        for request in requests:
            died = Path(self._options["died"])
            if not died.exists():
                died.touch()
                os._exit(3)
            words = request.messages[-1].content.split()
            text = words[-1] if not request.choices else request.choices[0]
            scores = [-1.0] * len(request.choices) if request.choices else None
            yield Completion(
                request.request_id,
                text=text,
                finish_reason="stop",
                prompt_tokens=len(words),
                completion_tokens=1,
                mean_logprob=-0.1,
                min_logprob=-0.1,
                choice_logprobs=scores,
            )

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture(scope="module")
def ran(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """One document, whose domain the parrot chooses; its first worker kills itself."""
    folder = tmp_path_factory.mktemp("engine")
    prices = {"prompt": 1.0, "cached": 0.0, "completion": 1.0}
    settings = {
        "engines": {"parrot": {"engine": NAME, "options": {"died": str(folder / "died")}, "prices": prices}},
        "screen": {"engine": "parrot", "method": "topic", "prompt": "small_topic", "min_margin": -9.0},
    }
    pipeline = make_pipeline(spark, folder, documents(1), settings)
    (*_, line) = pipeline.plan(stages=["ingest", "filter", "deduplicate", "segment", "screen"])
    assert (line.stage, line.requests) == ("screen", 1)
    assert line.cost is not None
    assert line.cost > 0
    pipeline.run(stages=["ingest", "filter", "deduplicate", "segment", "screen"])
    return pipeline


def test_it_answers_after_its_worker_was_killed(ran: Pipeline) -> None:
    line = by_stage(ran.status())["screen"]
    assert (line.rows_in, line.kept, line.requests) == (1, 1, 1)
    (row,) = collected(ran.open().read("completions"))
    assert (row["engine"], row["model"]) == ("parrot", "parrot-1")
    key = collected(ran.open().read("screened"))[0]["passage_key"]
    assert "engine parrot, model parrot-1" in " ".join(show(ran.open(), key).split())


def test_doctor_looks_at_it(tmp_path: Path) -> None:
    given = f"engines.parrot={{engine: '{NAME}', options: {{died: x}}}}"
    findings = examine(None, str(tmp_path / "wh"), [given, "screen.engine=parrot"])
    (found,) = [finding for finding in findings if "parrot" in finding.text]
    assert found.good
    assert "for screen" in found.text
