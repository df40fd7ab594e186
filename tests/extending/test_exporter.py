"""An exporter, from this one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tests.smallrun import SmallRun
from webscale_rl.cli import main as cli
from webscale_rl.exports.registry import EXPORTERS, Exporter


class CardsExporter(Exporter):
    """Index cards."""

    name = "cards"
    summary = "front and back of an index card"
    form = "json"

    def rows(self, pairs: DataFrame) -> DataFrame:
        """front, back string."""
        return pairs.select(F.col("question").alias("front"), F.col("answer").alias("back"))


def register() -> None:
    """What the configuration's `plugins` calls."""
    EXPORTERS.register(CardsExporter())


def test_it_writes_the_product(
    small_run: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cards"
    with EXPORTERS.added(CardsExporter()):
        assert cli.main(["export", *small_run.options, "--to", "cards", "--out", str(out)]) == 0
        assert "1 pairs in" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            cli.main(["export", "--help"])
        assert "cards (front and back of an index card)" in " ".join(capsys.readouterr().out.split())
        assert cli.main(["export", *small_run.options, "--to", "cards", "--out", str(out)]) == 2
        assert "cannot export to" in capsys.readouterr().err
    (line,) = [line for path in out.glob("part-*.json") for line in path.read_text().splitlines()]
    assert json.loads(line)["back"] == "1900"


def test_an_unknown_one_is_named(small_run: SmallRun, capsys: pytest.CaptureFixture[str]) -> None:
    with EXPORTERS.added(CardsExporter()):
        assert cli.main(["export", *small_run.options, "--to", "card", "--out", "x"]) == 2
    assert "did you mean 'cards'" in capsys.readouterr().err
