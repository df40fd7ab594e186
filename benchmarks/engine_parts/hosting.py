"""vLLM as the engine hosts it, beside vLLM's own loop, in one process: no Spark, no Java."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from udfs.engines import worker
from udfs.engines.base import Request

ARROW_ROWS = 64
_BATCH_ROUNDS = 3


def load(path: Path) -> list[dict[str, str]]:
    """Rows of a workload: request_id, request, prefix."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spec(model: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"engine": "vllm", "options": {"model": model, "args": args}, "gpus": 0}


def through_arrow(function: Any, rows: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """The completions of rows, as a Spark task gets them."""

    def batches() -> Iterator[pa.RecordBatch]:
        for at in range(0, len(rows), ARROW_ROWS):
            part = rows[at : at + ARROW_ROWS]
            yield pa.RecordBatch.from_pydict(
                {name: [row[name] for row in part] for name in ("request_id", "request")}
            )

    return [row for batch in function(batches()) for row in batch.to_pylist()]


def kept() -> Any:
    """The engine of this process."""
    assert worker._kept is not None
    return worker._kept[1]


def own_loop(rows: Sequence[dict[str, str]], batch: int | None = None) -> int:
    """vLLM's own loop, as `LLM.generate` has it: add everything, step until nothing is left.

    Args:
        batch: one such loop for so many rows; None: one for all.

    Returns:
        Tokens written.
    """
    import vllm

    ours = kept()
    prepared = []
    for row in rows:
        request = Request.parse(row["request_id"], row["request"])
        sampling = request.sampling
        params = vllm.SamplingParams(max_tokens=sampling.max_tokens, temperature=0.0, output_kind=ours._kind)
        prepared.append((ours._input(request, ours._prompt(request)), params))
    tokens = 0
    for at in range(0, len(prepared), batch or len(prepared)):
        for number, (prompt, params) in enumerate(prepared[at : at + (batch or len(prepared))]):
            ours._engine.add_request(f"own-{at}-{number}", prompt, params)
        while ours._engine.has_unfinished_requests():
            for output in ours._engine.step():
                if output.finished:
                    tokens += len(output.outputs[0].token_ids)
    return tokens


def feeding(model: str, args: dict[str, Any], rows: list[dict[str, str]], rounds: int) -> dict[str, Any]:
    """Tokens a second: our engine, vLLM's own loop over all, and a loop for each batch of 16 and 64.

    The loops for batches take long, and run in the first three rounds only.
    """
    function = worker.engine_function(spec(model, {**args, "enable_prefix_caching": False}))
    started = time.perf_counter()
    through_arrow(function, rows[:8])
    loaded = time.perf_counter() - started

    def ours() -> int:
        return sum(row["completion_tokens"] for row in through_arrow(function, rows))

    ways: dict[str, Callable[[], int]] = {
        "ours": ours,
        "vLLM's own loop": lambda: own_loop(rows),
        "a loop for each 64": lambda: own_loop(rows, 64),
        "a loop for each 16": lambda: own_loop(rows, 16),
    }
    own_loop(rows[:ARROW_ROWS])
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if "each" in name and number >= _BATCH_ROUNDS:
                continue
            started = time.perf_counter()
            tokens = ways[name]()
            speeds[name].append(tokens / (time.perf_counter() - started))
    worker.close_engine()
    return {
        "requests": len(rows),
        "load_seconds": round(loaded, 1),
        "tokens_per_second": {name: round(statistics.median(found), 1) for name, found in speeds.items()},
        "ours_over": {
            name: ratio([a / b for a, b in zip(speeds["ours"], found, strict=False)])
            for name, found in speeds.items()
            if name != "ours"
        },
    }


def ratio(found: list[float]) -> dict[str, float]:
    """Median of paired ratios with the smallest and the largest (of 7: the median's interval of 98%)."""
    return {
        "median": round(statistics.median(found), 3),
        "smallest": round(min(found), 3),
        "largest": round(max(found), 3),
        "pairs": len(found),
    }


def prefixes(model: str, args: dict[str, Any], rows: list[dict[str, str]], seed: int = 1) -> dict[str, Any]:
    """Prompt tokens that were not cached, over the least possible: in the order of prefixes and at random."""
    function = worker.engine_function(spec(model, {**args, "enable_prefix_caching": True}))
    through_arrow(function, rows[:1])
    ours = kept()
    cache = ours._engine.vllm_config.cache_config
    block = int(cache.block_size)
    whole: set[tuple[int, ...] | int] = set()
    prompt_tokens = rest = 0
    for row in rows:
        ids = ours._tokenizer.encode(ours._prompt(Request.parse(row["request_id"], row["request"])))
        prompt_tokens += len(ids)
        rest += len(ids) % block
        at = 0
        for end in range(block, len(ids) + 1, block):
            at = hash((at, *ids[end - block : end]))
            whole.add(at)
    least = len(whole) * block + rest
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    orders = {"in the order of prefixes": sorted(rows, key=lambda row: (row["prefix"], row["request_id"]))}
    orders["at random"] = shuffled
    told: dict[str, Any] = {
        "requests": len(rows),
        "prompt_tokens": prompt_tokens,
        "least_possible": least,
        "block_tokens": block,
        "cache_tokens": int(cache.num_gpu_blocks) * block,
    }
    for name, ordered in orders.items():
        ours._engine.reset_prefix_cache()
        started = time.perf_counter()
        found = through_arrow(function, ordered)
        seconds = time.perf_counter() - started
        read = sum(row["prompt_tokens"] - row["cached_tokens"] for row in found)
        told[name] = {
            "prefilled": read,
            "over_least": round(read / least, 3),
            "seconds": round(seconds, 1),
            "tokens_written": sum(row["completion_tokens"] for row in found),
        }
    worker.close_engine()
    return told


def release(models: Sequence[str], args: dict[str, Any], rows: list[dict[str, str]]) -> dict[str, Any]:
    """Memory of the GPU while one engine follows another in a process, and after a process was killed."""
    import torch

    def used() -> int:
        free, total = torch.cuda.mem_get_info()
        return (total - free) >> 20

    told: dict[str, Any] = {"used_mb_before": used()}
    for number, model in enumerate(models):
        function = worker.engine_function(spec(model, args))
        done = through_arrow(function, rows[:64])
        told[f"engine_{number}"] = {
            "used_mb": used(),
            "answered": sum(row["fault"] is None for row in done),
            "load_seconds": round(max(row["load_seconds"] or 0 for row in done), 1),
        }
    worker.close_engine()
    told["used_mb_closed"] = used()
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.engine_parts.victim", models[0], json.dumps(args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(rows[:256]))
    child.stdin.close()
    while "working" not in (line := child.stdout.readline()):
        if not line:
            return told | {"victim": "ended by itself"}
    told["used_mb_victim_at_work"] = used()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    started = time.monotonic()
    while used() > told["used_mb_closed"] + 64 and time.monotonic() - started < 30:
        time.sleep(0.1)
    told["used_mb_after_kill"] = used()
    told["seconds_until_free"] = round(time.monotonic() - started, 1)
    return told
