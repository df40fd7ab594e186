"""Hosting language models: Spark's overhead, feeding, prefix order, placement, the pipeline around them.

    python benchmarks/engines.py requests --texts FOLDER --out R        # real prompts, for the modes below
    python benchmarks/engines.py feeding --requests R --model M         # beside vLLM's own loops
    python benchmarks/engines.py prefix --requests R --model M          # prefilled over least possible
    python benchmarks/engines.py release --requests R --model A --model B   # a GPU's memory
    python benchmarks/engines.py spark --requests R --model M           # tokens/s through Spark
    python benchmarks/engines.py busy                                   # four unequal fake engines
    python benchmarks/engines.py pipeline --documents 10000,200000 --texts FOLDER   # no latency
    python benchmarks/engines.py chain --base-url URL --model NAME --documents 100 --texts FOLDER

feeding, prefix and release need neither Spark nor Java, so they run on a bare machine with a GPU. Every mode
prints its figures as JSON; ratios are of runs that alternate in one invocation. chain compares with the way
of the published code; without --base-url it is the embedded model, served by llama.cpp. That one is far too
small for this chain: with --scripted its computing goes with the replies of a script.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

MODES = ("requests", "feeding", "prefix", "release", "spark", "busy", "pipeline", "chain")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--requests", type=Path, metavar="FILE", help="workload that the mode requests wrote")
    parser.add_argument("--first", type=int, metavar="N", help="only the workload's first N requests")
    parser.add_argument(
        "--model", action="append", default=[], metavar="FOLDER", help="a model that vLLM loads"
    )
    parser.add_argument("--args", type=json.loads, default={}, metavar="JSON", help="vLLM's engine arguments")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="alternating rounds")
    parser.add_argument("--texts", type=Path, metavar="DIR", help="Parquet files with id and text")
    parser.add_argument("--base-url", metavar="URL", help="endpoint of the mode chain, up to /v1")
    parser.add_argument(
        "--scripted", action="store_true", help="chain: the endpoint's cost with a script's good replies"
    )
    parser.add_argument("--key-env", metavar="NAME", help="environment variable with its key")
    parser.add_argument("--out", type=Path, metavar="FILE")
    parser.add_argument(
        "--documents",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[],
        metavar="N[,N...]",
        help="texts to take (requests); corpus sizes (pipeline)",
    )
    parser.add_argument("--demonstrations", type=int, default=2, metavar="N", help="our examples a domain")
    parser.add_argument("--characters", type=int, default=2500, metavar="N", help="longest passage")
    parser.add_argument("--reply", type=int, metavar="N", help="requests: most tokens of a reply")
    parser.add_argument("--short", action="store_true", help="requests: prompts without their instructions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to work; default: a temporary one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    return parser.parse_args()


def main() -> int:
    """Run the chosen mode; its exit code."""
    given = parse()
    told: dict[str, Any] = {"mode": given.mode, "arguments": sys.argv[2:]}
    told |= {"figures": globals()[f"run_{given.mode}"](given)}
    # Only now: torch reads when it is imported how many threads it may have.
    told |= {"machine": machine()}
    print(json.dumps(told["figures"], indent=1))
    if given.json:
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return 0


def machine() -> str:
    """What this ran on, in words."""
    text = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    try:
        import torch
    except ImportError:
        return text
    return f"{torch.cuda.get_device_name()}, {text}" if torch.cuda.is_available() else text


def workload(given: argparse.Namespace) -> list[dict[str, str]]:
    """The requests of the file."""
    from benchmarks.engine_parts import hosting

    return hosting.load(given.requests)[: given.first]


def texts_of(given: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Key and text of the long enough documents."""
    import pyarrow.dataset as ds

    for batch in ds.dataset(given.texts).to_batches(columns=["id", "text"]):
        for row in batch.to_pylist():
            if len(row["text"]) > given.characters // 2:
                yield row["id"], row["text"]


def run_requests(given: argparse.Namespace) -> dict[str, Any]:
    """Write a workload."""
    from benchmarks.engine_parts import workload as work

    documents = (given.documents or [500])[0]
    rows = work.requests(
        *(texts_of(given), documents, given.demonstrations, given.characters, given.seed, given.reply),
        with_instructions=not given.short,
    )
    work.write(given.out, rows)
    return {"requests": len(rows), "characters": sum(len(row["request"]) for row in rows)}


def run_feeding(given: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second, ours over vLLM's own loops."""
    from benchmarks.engine_parts import hosting

    return hosting.feeding(given.model[0], given.args, workload(given), given.rounds)


def run_prefix(given: argparse.Namespace) -> dict[str, Any]:
    """Prefilled tokens over the least possible."""
    from benchmarks.engine_parts import hosting

    return hosting.prefixes(given.model[0], given.args, workload(given), given.seed)


def run_release(given: argparse.Namespace) -> dict[str, Any]:
    """A GPU's memory when a model follows another, and when a worker is killed."""
    from benchmarks.engine_parts import hosting

    return hosting.release(given.model, given.args, workload(given))


def run_spark(given: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second through Spark over vLLM's own loop."""
    from benchmarks.engine_parts import through_spark

    return through_spark.over_raw(given.model[0], given.args, workload(given), given.rounds)


def run_busy(given: argparse.Namespace) -> dict[str, Any]:
    """The share of the time that four fake engines of unequal speed are busy."""
    from benchmarks.engine_parts import through_spark

    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return through_spark.busy(Path(folder), given.first or 6000, [1.0, 1.0, 1.5, 2.0])


def run_pipeline(given: argparse.Namespace) -> dict[str, Any]:
    """The whole chain around an engine of no latency."""
    from benchmarks.engine_parts import around
    from webscale_rl.spark.session import build_session

    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)  # for Spark's workers
    spark = build_session(app_name="around", conf={"spark.driver.memory": "6g"})
    told = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for documents in given.documents or [10_000]:
            note(f"{documents} documents")
            told.append(around.measure(spark, given.texts, documents, Path(folder)))
    spark.stop()
    return {str(one["documents"]): one for one in told}


def run_chain(given: argparse.Namespace) -> dict[str, Any]:
    """Ours beside the way of the published code, on one endpoint."""
    from benchmarks.engine_parts import published, scripted

    count, shown = (given.documents or [20])[0], len(published.domain_names()) * published.LIBRARY
    wanted = itertools.islice(texts_of(given), count + shown)
    found = [(key, text[: given.characters]) for key, text in wanted]
    if len(found) < count + shown:
        sys.exit(f"{given.texts} has {len(found)} long enough texts; {count + shown} are needed")
    documents, examples = found[:count], [text for _, text in found[count:]]
    key = os.environ.get(given.key_env or "", "none")
    options: dict[str, Any] = {"model": (given.model or ["embedded"])[0], "concurrency": 10}
    options |= {"api_key_env": given.key_env} if given.key_env else {}
    with contextlib.ExitStack() as open_ones:
        options["base_url"] = given.base_url or open_ones.enter_context(embedded())
        if given.scripted:
            options["base_url"] = open_ones.enter_context(scripted.scripted(options["base_url"]))
        return published.beside(documents, examples, options, key, given.demonstrations, given.scripted)


@contextlib.contextmanager
def embedded() -> Iterator[str]:
    """The embedded model as an endpoint; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.engine_parts.llama_server", str(port)]
    ) as served:
        try:
            time.sleep(10)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            served.kill()


def note(message: str) -> None:
    """A line on standard error."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
