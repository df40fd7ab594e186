"""A pass of the model at its public function: chunks, faults, limits, and requests that kill the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from tests.fakes import called, traced
from tests.helpers import SAMPLING, configuration
from tests.udfs.server import endpoint, fault, says
from webscale_rl.config.load import load
from webscale_rl.errors import BudgetReachedError, EngineFailedError, UnparsableRepliesError
from webscale_rl.llm.engines import Engines
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.replies import reply_column
from webscale_rl.llm.requests import constants, messages_column, request_column
from webscale_rl.runtime.budget import Budget
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.passes import run_pass as completions
from webscale_rl.runtime.passes.estimate import complete_directly, estimate
from webscale_rl.runtime.passes.model_pass import Outcome, Pass
from webscale_rl.runtime.passes.run_pass import run_pass
from webscale_rl.stages.registry import STAGES, all_tables
from webscale_rl.storage.lease import Lease
from webscale_rl.storage.warehouse import Warehouse

SCHEMA = {
    "type": "object",
    "required": ["good"],
    "properties": {"good": {"type": "boolean"}},
    "additionalProperties": False,
}


class Desk:
    """A warehouse that is held by this process, and passes over rows of (key, text) on it."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.folder = folder
        self.warehouse = Warehouse(spark, str(folder / "wh"), all_tables())
        self.warehouse.prepare()
        self.lease = Lease.take(self.warehouse)

    def engines(
        self,
        stage: str,
        chunk_tokens: int,
        options: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Any, Engines]:
        values = self.configuration(stage, options)
        values["engines"]["fake"] |= {"chunk_tokens": chunk_tokens, **(settings or {})}
        config = load(values=values)
        return config, Engines(config.engines)

    def configuration(self, stage: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return configuration(self.log(stage), **options)

    def log(self, stage: str) -> Path:
        return self.folder / f"{stage}.log"

    def calls(self, stage: str) -> list[str]:
        return called(self.log(stage))

    def ask(
        self,
        stage: str,
        texts: Sequence[str],
        budget: Budget | None = None,
        chunk_tokens: int = 100_000,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Outcome:
        """Have every text that has no row under ``stage`` answered.

        Args:
            settings: of the engine's section, beside its options.
        """
        config, engines = self.engines(stage, chunk_tokens, options, settings)
        context = Context(
            spark=self.spark,
            warehouse=self.warehouse,
            stages=STAGES,
            parts=Parts(config.sections, engines, [], {}),
            budget=budget or Budget(),
            recipes={stage: stage},
        )
        self.warehouse.claim("screened")
        subjects = self.spark.createDataFrame(
            [(f"{stage}-{n}", text) for n, text in enumerate(texts)], "passage_key string, text string"
        )
        done = self.warehouse.read("screened").where(F.col("recipe") == stage)
        waiting = subjects.join(done.select("passage_key"), "passage_key", "left_anti")
        return run_pass(context, self.a_pass(stage, engines), waiting)

    def a_pass(self, stage: str, engines: Engines) -> Pass:
        engine = engines.get("fake")
        fields = constants(engine.identity, SAMPLING | {"max_tokens": 50, "stop": []}, "chat", SCHEMA)

        def request() -> Any:
            messages = messages_column([{"role": "user", "content": "{text}"}], {"text": F.col("text")})
            return request_column(fields, messages)

        def finish(completed: Any) -> Any:
            read = completed.withColumn("_reply", reply_column(SCHEMA))
            reason = F.col("_reply.reason")
            return read.select(
                "passage_key",
                F.col("_reply.value").alias("comment"),
                "request_id",
                F.when(reason.isNull(), "kept").otherwise("rejected").alias("status"),
                F.array_compact(F.array(reason)).alias("reasons"),
            )

        def write(rows: Any) -> None:
            nothing = {
                "document_key": "string",
                "informative": "boolean",
                "self_contained": "boolean",
                "answerable": "boolean",
                "score": "double",
            }
            shaped = rows.select(
                "*",
                *[F.lit(None).cast(kind).alias(name) for name, kind in nothing.items()],
                F.lit(stage).alias("recipe"),
                F.lit(self.lease.epoch).alias("run"),
            )
            self.warehouse.append("screened", shaped)

        return Pass(
            stage=stage,
            engine=engine,
            request=request,
            prefix=F.col("passage_key"),
            max_tokens=50,
            finish=finish,
            write=write,
        )

    def rows(self, stage: str) -> dict[str, tuple[str, list[str]]]:
        """passage key -> (status, reasons); every key must have one row only."""
        found = self.warehouse.read("screened").where(F.col("recipe") == stage).collect()
        rows = {row["passage_key"]: (row["status"], row["reasons"]) for row in found}
        assert len(rows) == len(found), "a row was written twice"
        return rows

    def attempts(self, stage: str) -> list[Any]:
        return self.warehouse.read("attempts").where(F.col("stage") == stage).collect()

    def completions(self, stage: str) -> list[Any]:
        return self.warehouse.read("completions").where(F.col("stage") == stage).collect()


@pytest.fixture(scope="module")
def desk(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    made = Desk(spark, tmp_path_factory.mktemp("desk"))
    yield made
    made.lease.release()


def texts(stage: str, count: int, extra: Callable[[int], str] = lambda n: "") -> list[str]:
    return [f"text {n} of {stage} {extra(n)}" for n in range(count)]


def test_replies_are_kept_and_rows_written(desk: Desk) -> None:
    given = texts("plain", 6)
    outcome = desk.ask("plain", given, chunk_tokens=700)
    assert (outcome.rows, outcome.kept, outcome.requests) == (6, 6, 6)
    assert all(row == ("kept", []) for row in desk.rows("plain").values())
    found = desk.completions("plain")
    assert len({row["request_id"] for row in found}) == 6
    assert len({row["chunk"] for row in found}) > 1, "700 tokens hold no six requests"
    assert sorted(desk.calls("plain")) == sorted(row["request_id"] for row in found)
    assert all(row["text"] == '{"good": true}' and row["prompt_tokens"] > 0 for row in found)
    # Nothing is pending any more, so a second pass does nothing.
    assert desk.ask("plain", given).rows == 0
    assert len(desk.calls("plain")) == 6


def test_chunks_side_by_side_lose_and_repeat_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "PROBE_REPLIES", 2)
    given = texts("flying", 24, lambda n: {7: "KILL", 16: "LASTING"}.get(n, ""))
    options = {"kill": "KILL", "lasting": "LASTING", "sleep": 0.3, "trace": str(tmp_path)}
    flying = {"in_flight": 3, "workers": 1, "tasks": 1}
    outcome = desk.ask("flying", given, chunk_tokens=700, settings=flying, **options)
    rows = desk.rows("flying")
    assert outcome.rows == len(rows) == 24
    assert rows.pop("flying-7") == ("rejected", ["kills_engine"])
    assert rows.pop("flying-16") == ("rejected", ["told_to_fail"])
    assert all(row == ("kept", []) for row in rows.values())
    assert len({row["request_id"] for row in desk.completions("flying")}) == 24
    calls = [event for event in traced(tmp_path) if event["event"] == "called"]
    # One task at a time in each chunk, so what overlaps is of two chunks.
    assert any(a["since"] < b["since"] < a["at"] for a in calls for b in calls if a["pid"] != b["pid"])


def test_a_limit_counts_what_is_in_flight(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "PROBE_REPLIES", 2)
    given = texts("flying_limit", 20)
    budget = Budget(max_requests=11)
    with pytest.raises(BudgetReachedError):
        desk.ask("flying_limit", given, budget, chunk_tokens=700, settings={"in_flight": 3})
    assert len(desk.calls("flying_limit")) == budget.requests == len(desk.rows("flying_limit")) == 11


def test_equal_requests_are_paid_once(desk: Desk) -> None:
    # Far apart in the order of their prefixes, in small chunks; and known from an earlier stage.
    given = ["the same for all", *texts("equal", 6), "the same for all"]
    outcome = desk.ask("equal", given, chunk_tokens=700)
    assert outcome.rows == 8
    assert outcome.requests == 7
    calls = desk.calls("equal")
    assert len(calls) == len(set(calls)) == 7
    assert desk.ask("equal_again", given).requests == 0
    assert desk.calls("equal_again") == []
    assert len(desk.rows("equal_again")) == 8


def test_faults_and_malformed_replies(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    marks = {1: "PASSING", 2: "LASTING", 3: "MALFORMED"}
    given = texts("faults", 5, lambda n: marks.get(n, ""))
    options = {"passing": "PASSING", "lasting": "LASTING", "malformed": "MALFORMED", "passing_times": 1}
    outcome = desk.ask("faults", given, **options)
    assert (outcome.rows, outcome.kept, outcome.failed) == (4, 2, 1)
    rows = desk.rows("faults")
    assert "faults-1" not in rows, "a transient fault leaves its row pending"
    assert caplog.messages == ["faults: 1 of 5 requests failed and stay pending"]
    assert rows["faults-2"] == ("rejected", ["told_to_fail"])
    assert rows["faults-3"] == ("rejected", ["reply_not_json"])
    (attempt,) = desk.attempts("faults")
    assert (attempt["number"], attempt["error"], attempt["recipe"]) == (
        1,
        "told_to_fail: for now",
        "faults",
    )
    assert all(row["fault"] != "transient" for row in desk.completions("faults"))
    # The next run takes it up, and asks nothing else.
    assert desk.ask("faults", given, **options).requests == 1
    assert desk.rows("faults")["faults-1"] == ("kept", [])
    assert len(desk.calls("faults")) == 6


def test_a_fault_of_every_pending_request_stops_nothing_while_the_engine_answers(desk: Desk) -> None:
    given = texts("all_faults", 2, lambda n: "PASSING")
    outcome = desk.ask("all_faults", given, passing="PASSING")
    assert (outcome.rows, outcome.failed) == (0, 2)
    assert desk.rows("all_faults") == {}
    assert sorted(row["number"] for row in desk.attempts("all_faults")) == [1, 1]


def test_one_request_that_kills_the_engine_is_rejected_by_name(desk: Desk) -> None:
    given = texts("killer", 200, lambda n: "KILL" if n == 17 else "")
    outcome = desk.ask("killer", given, kill="KILL")
    rows = desk.rows("killer")
    assert outcome.rows == len(rows) == 200
    assert rows.pop("killer-17") == ("rejected", ["kills_engine"])
    assert all(row == ("kept", []) for row in rows.values())
    permanent = [row for row in desk.completions("killer") if row["fault"] == "permanent"]
    assert len(permanent) == 1
    assert permanent[0]["error"].startswith("kills_engine: ")
    assert max(row["number"] for row in desk.attempts("killer")) <= 9, "halved, not one by one"
    assert desk.ask("killer", given, kill="KILL").rows == 0


def test_a_killer_that_stands_alone_is_rejected_too(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.ask("lonely", ["KILL only"], kill="KILL").rows == 1
    (failed,) = caplog.messages
    assert failed.startswith("lonely: a job of 1 requests failed: ")
    assert desk.rows("lonely") == {"lonely-0": ("rejected", ["kills_engine"])}


def test_a_limit_within_the_failing_part_still_gets_on(desk: Desk) -> None:
    given = texts("budget_kill", 3, lambda n: "KILL" if n == 1 else "")
    desk.ask("budget_kill", given, Budget(max_requests=2), kill="KILL")
    assert [row[0] for _, row in sorted(desk.rows("budget_kill").items())] == ["kept", "rejected", "kept"]


@pytest.mark.parametrize(("count", "option"), [(2, "raises"), (40, "exit")])
def test_an_engine_that_always_dies_rejects_nothing(
    desk: Desk, count: int, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "MAX_FAILURES_IN_A_ROW", 3)
    stage = f"dead_{option}"
    with pytest.raises(EngineFailedError, match="engine fake does not answer"):
        # The greeting that tests the engine holds an "o", too.
        desk.ask(stage, texts(stage, count), **{option: "o"})
    assert desk.rows(stage) == {}
    assert desk.completions(stage) == []
    assert desk.attempts(stage)


def test_an_engine_that_dies_for_good_half_way_rejects_nothing(desk: Desk) -> None:
    # The first chunk is answered; from then on every call fails, the greeting too.
    given = [f"a{n} first" for n in range(4)]
    desk.ask("dies_later", given)
    more = given + [f"b{n} late" for n in range(2)]
    with pytest.raises(EngineFailedError):
        desk.ask("dies_later", more, raises="e")
    assert len(desk.rows("dies_later")) == 4


def test_a_passing_fault_everywhere_is_the_engine_s(desk: Desk) -> None:
    with pytest.raises(EngineFailedError, match="every request failed"):
        desk.ask("down", texts("down", 3), passing="o")
    assert desk.rows("down") == {}


def test_an_account_that_is_empty_half_way_stops_the_pass_and_rejects_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "PROBE_REPLIES", 2)
    given = texts("unpaid", 20, lambda n: "BROKEN" if n == 10 else "")
    with pytest.raises(EngineFailedError, match=r"unpaid: engine fake refuses .*refused_account: told to"):
        desk.ask("unpaid", given, chunk_tokens=300, settings={"in_flight": 2}, broken="BROKEN")
    rows = desk.rows("unpaid")
    assert "unpaid-10" not in rows
    # What was answered is kept, and what had not been sent is not sent.
    assert 2 <= len(rows) == len(desk.calls("unpaid")) - 1 < 19
    assert all(row == ("kept", []) for row in rows.values())
    assert [row["error"] for row in desk.attempts("unpaid")] == ["refused_account: told to fail"]
    assert {row["fault"] for row in desk.completions("unpaid")} == {None}
    asked = len(rows)
    assert desk.ask("unpaid", given).requests == 20 - asked
    assert list(desk.rows("unpaid").values()) == [("kept", [])] * 20


def test_mostly_unreadable_replies_stop_the_stage(desk: Desk) -> None:
    given = texts("unreadable", 230, lambda n: "MALFORMED" if n % 5 else "")
    with pytest.raises(UnparsableRepliesError, match=r"1\d\d of the first 200 replies"):
        desk.ask("unreadable", given, malformed="MALFORMED")
    assert len(desk.calls("unreadable")) == 200, "the rest is not sent"
    assert len(desk.rows("unreadable")) == 200


def test_half_of_the_replies_unreadable_is_no_reason_to_stop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "PROBE_REPLIES", 2)
    given = texts("half", 4, lambda n: "MALFORMED" if n % 2 else "")
    assert desk.ask("half", given, malformed="MALFORMED").kept == 2


def test_max_requests_is_exact(desk: Desk) -> None:
    given = texts("limited", 9)
    budget = Budget(max_requests=4)
    with pytest.raises(BudgetReachedError, match="--max-requests 4"):
        desk.ask("limited", given, budget, chunk_tokens=700)
    assert len(desk.calls("limited")) == budget.requests == len(desk.rows("limited")) == 4
    with pytest.raises(BudgetReachedError):
        desk.ask("limited", given, Budget(max_requests=4))
    assert desk.ask("limited", given, Budget(max_requests=1)).rows == 1, "exactly enough is no stop"
    assert len(desk.calls("limited")) == len(set(desk.calls("limited"))) == 9


def test_tokens_and_cost_stay_below_their_limits(desk: Desk) -> None:
    given = texts("tokens", 8)
    budget = Budget(max_tokens=210)
    with pytest.raises(BudgetReachedError, match="--max-tokens 210"):
        desk.ask("tokens", given, budget)
    assert 0 < budget.tokens <= 210
    assert 0 < len(desk.rows("tokens")) < 8
    costly = Budget(max_cost=0.0004)
    with pytest.raises(BudgetReachedError, match="--max-cost"):
        desk.ask("tokens", given, costly)
    assert 0 < costly.cost <= 0.0004
    before = len(desk.calls("tokens"))
    with pytest.raises(BudgetReachedError):
        desk.ask("tokens", given, Budget(max_tokens=1))
    assert len(desk.calls("tokens")) == before, "not even one fits"


def test_half_a_character_in_a_reply_is_data(desk: Desk) -> None:
    reply = '{"good": true, "more": "\\ud83d"}'
    desk.ask("half_character", ["ask this"], replies={"ask this": reply})
    assert desk.rows("half_character") == {"half_character-0": ("rejected", ["reply_not_as_asked"])}


def test_estimate_and_a_frame_without_a_warehouse(desk: Desk) -> None:
    _, engines = desk.engines("direct", 1000, {})
    a_pass = desk.a_pass("direct", engines)
    rows = desk.spark.createDataFrame(
        [("k1", "one"), ("k2", "two"), ("k3", "two")], "passage_key string, text string"
    )
    nothing = desk.warehouse.read("completions").where("false")
    total, requests, tokens = estimate(rows, a_pass, nothing)
    assert (total, requests) == (3, 2)
    assert tokens >= 2 * a_pass.max_tokens
    answered = complete_directly(rows, dataclasses.replace(a_pass)).collect()
    assert {row["passage_key"]: row["status"] for row in answered} == dict.fromkeys(
        ("k1", "k2", "k3"), "kept"
    )


class EndpointDesk(Desk):
    """Asks an endpoint."""

    def configuration(self, stage: str, options: Mapping[str, Any]) -> dict[str, Any]:
        values = configuration(self.log(stage))
        values["engines"]["fake"] = {"engine": "openai", "options": dict(options), "workers": 1}
        return values


def test_an_endpoint_s_own_fault_rejects_nobody_and_one_moderated_prompt_is_rejected_alone(
    spark: SparkSession, tmp_path: Path
) -> None:
    desk = EndpointDesk(spark, tmp_path)
    given = ["text 1", "text 2", "bad text", "text 3"]
    with endpoint() as server:
        options = {"base_url": server.url, "model": "small", "attempts": 1}
        for status, said in ((402, "Insufficient Balance"), (400, "API key not valid")):
            server.script = {"": [fault(status, said)]}
            with pytest.raises(EngineFailedError, match=said) as caught:
                desk.ask("account", given, **options)
            assert "\n" not in str(caught.value)
        assert (desk.rows("account"), desk.completions("account")) == ({}, [])
        assert len(desk.attempts("account")) == 8
        # After topping up.
        flagged, good = fault(403, "Your input was flagged by moderation"), says('{"good": true}')
        server.script = {"bad": [flagged], "text": [good]}
        assert desk.ask("account", given, **options).rows == 4
        assert desk.rows("account") == {
            "account-0": ("kept", []),
            "account-1": ("kept", []),
            "account-2": ("rejected", ["moderated"]),
            "account-3": ("kept", []),
        }
        assert desk.ask("account", given, **options).requests == 0
    desk.lease.release()


def test_an_endpoint_that_refuses_the_key_ends_the_run_and_shows_no_key(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "sk-very-secret")
    # The workers' environment, as spark.executorEnv sets it.
    monkeypatch.setitem(spark.sparkContext.environment, "THEIR_KEY", "sk-very-secret")
    desk = EndpointDesk(spark, tmp_path)
    with endpoint() as server:
        options = {"base_url": server.url, "model": "small", "api_key_env": "THEIR_KEY", "attempts": 1}
        with monkeypatch.context() as without:
            without.delitem(spark.sparkContext.environment, "THEIR_KEY")
            with pytest.raises(EngineFailedError, match=r"THEIR_KEY .* is not set \(on a cluster"):
                desk.ask("endpoint", ["text 1"], **options)
        good, long = says('{"good": true}'), fault(400, "maximum context length is 9")
        server.script = {"too long": [long], "text": [good]}
        outcome = desk.ask("endpoint", ["text 1", "too long", "text 2"], **options)
        assert (outcome.rows, outcome.kept, outcome.requests, outcome.tokens) == (3, 2, 3, 26)
        server.script = {"": [fault(401, "Incorrect API key provided: sk-very-secret")]}
        with pytest.raises(EngineFailedError, match="refused_key") as caught:
            desk.ask("endpoint", ["text 1", "text 2", "text 3", "text 4"], **options)
        assert "sk-very-secret" not in str(caught.value)
    for name in ("completions", "attempts", "screened"):
        rows = desk.warehouse.read(name).collect()
        assert rows
        assert "very-secret" not in str(rows)
    desk.lease.release()
