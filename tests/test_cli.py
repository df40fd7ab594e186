"""The command line in this process: arguments, exit codes, and what each command prints.

One small run (`tests.smallrun`) is read by all; commands that fail do so before any work.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import webscale_rl
from tests.helpers import STAGE_NAMES, TABLES
from tests.smallrun import SURVEY, SmallRun
from webscale_rl import Pipeline
from webscale_rl.cli import errors
from webscale_rl.cli import main as cli
from webscale_rl.cli.doctor import Finding
from webscale_rl.errors import EngineFailedError, WebscaleRLError
from webscale_rl.runtime.result import RunResult

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def ran(small_run: SmallRun) -> SmallRun:
    return small_run


def refused(capsys: Said, *arguments: str) -> str:
    """The one line that a command ends with, which must be the user's to mend."""
    assert cli.main(list(arguments)) == cli.EXIT_USER_ERROR
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    return said.err


# -- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["rn"], "invalid choice: 'rn'"),
        (["run", "--limit", "0"], "must be a whole number of at least 1, not '0'"),
        (["run", "--max-requests", "many"], "must be a whole number of at least 1, not 'many'"),
        (["run", "--max-cost", "nan"], "must be a number over 0, not 'nan'"),
        (["run", "--max-cost", "free"], "must be a number over 0, not 'free'"),
        (["run", "--format", "xml"], "invalid choice: 'xml'"),
        (["sql"], "the following arguments are required: query"),
        (["show"], "the following arguments are required: key"),
        (["init"], "the following arguments are required: folder"),
    ],
)
def test_wrong_arguments_end_with_2(capsys: Said, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_version_and_help(capsys: Said) -> None:
    for option, said in (("--version", webscale_rl.__version__), ("--help", "exit codes: 0 done")):
        with pytest.raises(SystemExit) as ended:
            cli.main([option])
        assert ended.value.code == 0
        assert said in capsys.readouterr().out


def test_the_help_names_every_stage(capsys: Said) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    assert ", ".join(STAGE_NAMES) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        ([], list(STAGE_NAMES)),
        (["--from", "check"], ["check", "decontaminate"]),
        (["--until", "filter"], ["ingest", "filter"]),
        (["--from", "filter", "--until", "segment"], ["filter", "deduplicate", "segment"]),
        (["--stage", "segment", "--stage", "ingest"], ["ingest", "segment"]),
    ],
)
def test_stages_are_chosen(arguments: list[str], stages: list[str]) -> None:
    assert cli.chosen_stages(cli.build_parser().parse_args(["run", *arguments])) == stages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "filtr"], "no stage 'filtr' (did you mean 'filter'?): known are ingest"),
        (["--until", "x"], "no stage 'x'"),
        (["--from", "check", "--until", "filter"], "no stage is left"),
        (["--set", "filter.min_wrds=3"], "unknown key 'filter.min_wrds' (did you mean 'min_words'?)"),
        (["--set", "filter.min_words=some"], "'filter.min_words'"),
        (["--set", "nonsense"], "expected section.key=value"),
        (["--config", "/no/such.yml"], "cannot read /no/such.yml: No such file"),
        (["--input", "/no/such.jsonl"], "no such file or folder: /no/such.jsonl"),
        (["--set", "engines.fake.options.missing=true"], "the fake model is missing"),
        (["--set", "generate.prompt=no_such_prompt"], "no such file: no_such_prompt"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_work(
    ran: SmallRun, capsys: Said, tmp_path: Path, arguments: list[str], message: str
) -> None:
    given = ["--config", str(ran.folder / "config.yml"), "--warehouse", str(tmp_path / "wh")]
    for command in ("run", "plan"):
        assert message in refused(capsys, command, *given, *arguments)
    assert not (tmp_path / "wh").exists()


def test_debug_shows_the_error(tmp_path: Path) -> None:
    with pytest.raises(WebscaleRLError):
        cli.main(["run", "--debug", "--config", str(tmp_path / "none.yml")])


def test_documents_of_the_command_line_take_the_place_of_the_configured(ran: SmallRun) -> None:
    arguments = ["run", *ran.options, "--input", "a.csv", "b.csv", "--text-column", "body"]
    pipeline = cli.make_pipeline(cli.build_parser().parse_args([*arguments, "--licence", "CC0-1.0"]))
    (source,) = pipeline.settings.sources
    assert (source.name, source.paths, source.format) == ("input", ["a.csv", "b.csv"], "csv")
    assert (source.columns.text, source.licence) == ("body", "CC0-1.0")
    assert pipeline.settings.warehouse == str(ran.folder / "wh")


def test_a_run_without_documents_says_how_to_name_some(
    spark: SparkSession, capsys: Said, tmp_path: Path
) -> None:
    assert "--input PATH" in refused(capsys, "run", "--warehouse", str(tmp_path / "wh"))
    assert not (tmp_path / "wh").exists()


@pytest.mark.parametrize("command", [["status"], ["sql", "SELECT 1"], ["show", "ab"]])
def test_reading_no_warehouse_is_one_line(
    spark: SparkSession, capsys: Said, tmp_path: Path, command: list[str]
) -> None:
    assert "no warehouse in" in refused(capsys, *command, "--warehouse", str(tmp_path / "wh"))
    assert not (tmp_path / "wh").exists()


# -- exit codes -----------------------------------------------------------------------------------


def raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), errors.EXIT_INTERRUPTED, "interrupted: what was finished is kept"),
        (EngineFailedError("it answered nothing"), errors.EXIT_FAILED, "failed: it answered nothing"),
        (ConnectionError("refused"), errors.EXIT_FAILED, "failed: Spark's Java process has gone"),
    ],
)
def test_errors_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: Said, error: BaseException, code: int, message: str
) -> None:
    monkeypatch.setattr(cli, "_status", raising(error))
    assert cli.main(["status"]) == code
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_a_run_that_a_limit_stops_ends_with_3(
    ran: SmallRun, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    given: dict[str, Any] = {}

    def run(self: Pipeline, **arguments: Any) -> RunResult:
        given.update(arguments)
        return RunResult(2, "stopped", "stopped at 5 requests: run again to go on", 5, 70, 0.5, None)

    monkeypatch.setattr(Pipeline, "run", run)
    monkeypatch.setattr(Pipeline, "status", lambda self: [])
    limits = ["--limit", "3", "--max-requests", "5", "--max-tokens", "100", "--max-cost", "0.5"]
    assert cli.main(["run", *ran.options, *limits, "--until", "screen", "--take-over"]) == cli.EXIT_STOPPED
    said = capsys.readouterr()
    assert "run 2 stopped: 5 requests, 70 tokens, cost 0.5000" in said.out
    assert said.err == "stopped at 5 requests: run again to go on\n"
    budget = given["budget"]
    assert (budget.max_requests, budget.max_tokens, budget.max_cost) == (5, 100, 0.5)
    assert (given["limit"], given["take_over"]) == (3, True)
    assert given["stages"] == list(STAGE_NAMES[: STAGE_NAMES.index("screen") + 1])


def test_doctor_ends_with_2_when_something_is_bad(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    findings = [Finding("Java", True, "17.0.15"), Finding("disk", False, "0 GB free", "free some")]
    monkeypatch.setattr("webscale_rl.cli.doctor.examine", lambda *_: findings)
    assert cli.main(["doctor"]) == cli.EXIT_USER_ERROR
    assert capsys.readouterr().out.splitlines() == [str(finding) for finding in findings]
    monkeypatch.setattr("webscale_rl.cli.doctor.examine", lambda *_: findings[:1])
    assert cli.main(["doctor"]) == cli.EXIT_DONE


def test_init_writes_once(tmp_path: Path, capsys: Said) -> None:
    assert cli.main(["init", str(tmp_path / "mine")]) == cli.EXIT_DONE
    written = capsys.readouterr().out.split()
    assert str(tmp_path / "mine" / "config.yml") in written
    assert "is there already" in refused(capsys, "init", str(tmp_path / "mine"))


# -- what a warehouse says ------------------------------------------------------------------------


def test_run_ends_with_the_funnel_and_samples(ran: SmallRun) -> None:
    assert ran.code == cli.EXIT_DONE
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[2 : 2 + len(STAGE_NAMES)]] == list(STAGE_NAMES)
    assert "run 1 done: " in ran.out
    assert "1 accepted pairs in qa_pairs" in ran.out
    assert f"Q: In what year {SURVEY}" in ran.out
    assert "sql --warehouse" in ran.out
    # No terminal here: progress is plain lines.
    assert "\r" not in ran.err
    assert "\x1b" not in ran.err
    assert "screen         2/2 rows  kept 1" in ran.err


def test_status(ran: SmallRun, capsys: Said) -> None:
    assert cli.main(["status", *ran.options]) == cli.EXIT_DONE
    out = capsys.readouterr().out
    assert out.startswith("stage ")
    assert "answer_not_confirmed 1" in out
    assert "no run holds the warehouse" in out


def test_status_as_json(ran: SmallRun, capsys: Said) -> None:
    assert cli.main(["status", "--json", *ran.options]) == cli.EXIT_DONE
    data = json.loads(capsys.readouterr().out)
    assert data["held_by"] is None
    stages = {row["stage"]: row for row in data["stages"]}
    assert list(stages) == list(STAGE_NAMES)
    for row in stages.values():
        assert row["rows_in"] == row["kept"] + row["rejected"] + row["pending"]
    assert stages["filter"]["reasons"] == {"too_short": 1}
    assert stages["screen"]["requests"] == 2
    assert stages["screen"]["prompt_tokens"] > 0
    # screen's and identify's request is one.
    assert stages["identify"]["requests"] == 0


def test_plan_after_a_run_has_nothing_to_do(ran: SmallRun, capsys: Said) -> None:
    history = sorted(str(path) for path in (ran.folder / "wh").rglob("*.json"))
    assert cli.main(["plan", "--json", *ran.options]) == cli.EXIT_DONE
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert {row["stage"]: (row["pending"], row["requests"]) for row in stages} == dict.fromkeys(
        STAGE_NAMES, (0, 0)
    )
    assert sorted(str(path) for path in (ran.folder / "wh").rglob("*.json")) == history


def test_dry_run_is_plan(ran: SmallRun, tmp_path: Path, capsys: Said) -> None:
    given = ["--config", str(ran.folder / "config.yml"), "--warehouse", str(tmp_path / "wh")]
    assert cli.main(["run", "--dry-run", "--until", "filter", *given]) == cli.EXIT_DONE
    out = capsys.readouterr().out
    assert "nothing was touched" in out
    assert out.splitlines()[2].split()[:2] == ["ingest", "4"]
    assert not (tmp_path / "wh").exists()


def test_sql_knows_every_table_and_view_by_its_bare_name(ran: SmallRun, capsys: Said) -> None:
    names = [*TABLES, "rejects", "lineage"]
    counts = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in names)
    assert cli.main(["sql", *ran.options, "--format", "csv", counts]) == cli.EXIT_DONE
    rows = dict(csv.reader(capsys.readouterr().out.splitlines()[1:]))
    assert set(rows) == set(names)
    # Three rejected on the way to the pairs: short, copy, screened out; and one pair.
    assert (rows["documents"], rows["qa_pairs"], rows["rejects"]) == ("4", "1", "4")


def test_sql_prints_a_table_csv_or_json(ran: SmallRun, capsys: Said) -> None:
    query = "SELECT 2 AS n, 'two, \"b\"\x1b[2J' AS t, array('x') AS a, NULL AS e"
    assert cli.main(["sql", *ran.options, query]) == cli.EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["n", "t", "a", "e"]
    # What a document holds cannot steer the terminal.
    assert "\x1b" not in lines[2]
    assert cli.main(["sql", *ran.options, "--format", "csv", query]) == cli.EXIT_DONE
    assert list(csv.reader(capsys.readouterr().out.splitlines()))[1][:2] == ["2", 'two, "b"\x1b[2J']
    assert cli.main(["sql", *ran.options, "--format", "json", query]) == cli.EXIT_DONE
    assert json.loads(capsys.readouterr().out) == {"n": 2, "t": 'two, "b"\x1b[2J', "a": ["x"], "e": None}


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT nothing FROM qa_pairs", "SELECT * FROM no_such_table"])
def test_a_wrong_query_is_one_line(ran: SmallRun, capsys: Said, query: str) -> None:
    assert "the query cannot be run" in refused(capsys, "sql", *ran.options, query)


def test_show_prints_a_life_and_refuses_what_is_no_key(ran: SmallRun, capsys: Said) -> None:
    query = "SELECT pair_key FROM qa_pairs"
    cli.main(["sql", *ran.options, "--format", "json", query])
    key = json.loads(capsys.readouterr().out)["pair_key"]
    assert cli.main(["show", *ran.options, key[:24]]) == cli.EXIT_DONE
    assert capsys.readouterr().out.startswith(f"pair {key}\naccepted: ")
    assert "is no key" in refused(capsys, "show", *ran.options, "what")
