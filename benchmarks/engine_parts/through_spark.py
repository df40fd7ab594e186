"""Engines behind Spark: the cost of the way to vLLM and back, and whether unequal engines are kept busy."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.engine_parts import hosting
from benchmarks.engine_parts.cluster import fake_gpus
from udfs.engines import worker
from webscale_rl.llm.engines import Engine, EngineSettings
from webscale_rl.llm.placement import place
from webscale_rl.spark.session import build_session


def over_raw(model: str, args: dict[str, Any], rows: list[dict[str, str]], rounds: int) -> dict[str, Any]:
    """Tokens a second through Spark over vLLM's own loop, in turns; one engine in a worker, one here.

    A job reads the requests from Parquet and writes the completions to Delta.
    """
    # Spark gives a worker one thread for each core of its task; the loop in this process gets no more.
    os.environ["OMP_NUM_THREADS"] = "1"
    spark = build_session(app_name="engines", master="local[1,2]")
    options = {"model": model, "args": {**args, "enable_prefix_caching": False}}
    settings = EngineSettings(engine="vllm", options=options, gpus=0, workers=1)
    placement = place(spark, Engine("vllm", settings, {}))
    with tempfile.TemporaryDirectory() as folder:
        spark.createDataFrame(rows).coalesce(1).write.parquet(f"{folder}/in")

        def through(number: int, limit: int) -> tuple[int, float]:
            asked = placement.spark.read.parquet(f"{folder}/in").select("request_id", "request").limit(limit)
            started = time.perf_counter()
            placement.call(asked).write.format("delta").save(f"{folder}/out-{number}")
            seconds = time.perf_counter() - started
            done = spark.read.format("delta").load(f"{folder}/out-{number}")
            return done.groupBy().sum("completion_tokens").collect()[0][0], seconds

        through(-1, 4)
        hosting.through_arrow(worker.engine_function(hosting.spec(model, options["args"])), rows[:4])
        speeds: dict[str, list[float]] = {"through Spark": [], "vLLM's own loop": []}
        for number in range(rounds):
            for way in list(speeds)[:: 1 if number % 2 else -1]:
                if way == "through Spark":
                    # Not counted: Spark ends a worker that was idle for a minute, and its engine with it.
                    through(-2 - number, 1)
                    tokens, seconds = through(number, len(rows))
                else:
                    started = time.perf_counter()
                    tokens = hosting.own_loop(rows)
                    seconds = time.perf_counter() - started
                speeds[way].append(tokens / seconds)
        worker.close_engine()
    spark.stop()
    through_spark, raw = speeds.values()
    return {
        "requests": len(rows),
        "tokens_per_second": {name: [round(speed, 1) for speed in found] for name, found in speeds.items()},
        "spark_over_raw": hosting.ratio([a / b for a, b in zip(through_spark, raw, strict=True)]),
    }


def busy(folder: Path, requests: int, speeds: list[float]) -> dict[str, Any]:
    """The share of the time in which four fake engines of unequal speed are busy, over one stage's pass."""
    from tests.fakes import traced
    from tests.llm.test_completions import Desk, texts

    spark = build_session(app_name="busy", master="local-cluster[2,4,2048]", conf=fake_gpus(folder, 2))
    desk = Desk(spark, folder)
    trace = folder / "trace"
    trace.mkdir()
    # About 170 estimated tokens a request, so some 1,200 requests a chunk: a third of a minute. As
    # on machines with GPUs, there are more cores than GPUs; else a chunk's rows wait for a model's task.
    settings = {"gpus": 1, "in_flight": 2, "tasks": 2, "chunk_tokens": 210_000}
    started = time.monotonic()
    outcome = desk.ask(
        "busy", texts("busy", requests), settings=settings, sleep=0.05, speeds=speeds, trace=str(trace)
    )
    seconds = time.monotonic() - started
    events = traced(trace)
    calls = [event for event in events if event["event"] == "called"]
    first, last = min(call["since"] for call in calls), max(call["at"] for call in calls)
    engines_up = {event["pid"] for event in events if event["event"] == "built"}
    work = {pid: sum(c["at"] - c["since"] for c in calls if c["pid"] == pid) for pid in engines_up}
    built = sum(event["event"] == "built" for event in events)
    chunks = len({row["chunk"] for row in desk.completions("busy")})
    desk.lease.release()
    spark.stop()
    return {
        "requests": outcome.requests,
        "chunks": chunks,
        "seconds_of_the_pass": round(seconds, 1),
        "seconds_from_first_to_last_call": round(last - first, 1),
        "busy_share": round(sum(work.values()) / len(engines_up) / (last - first), 3),
        "busy_share_of_each": sorted(round(one / (last - first), 3) for one in work.values()),
        "calls_of_each": sorted(sum(c["pid"] == pid for c in calls) for pid in engines_up),
        "engines_rebuilt": built - 4,
    }
