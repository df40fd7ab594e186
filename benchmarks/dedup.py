#!/usr/bin/env python3
"""Near-duplicate removal beside its peers: time, memory, shuffled bytes and quality, in one run.

    python benchmarks/dedup.py --install-peers            # once: an environment for each peer
    python benchmarks/dedup.py                            # 50,000 documents, every installed peer
    python benchmarks/dedup.py --documents 5000 --peers mllib,daft
    python benchmarks/dedup.py --peers datatrove --repeat 3 --json figures.json

The corpus is real English text out of Debian documentation packages (fetched with apt-get, not installed),
or out of --text-folder; one document in five is an edited copy of another one. The truth, every pair of word
5-gram sets with a Jaccard similarity of 0.8 and more, is computed exactly by code of the benchmark's own, and
every system's result is judged by it. Corpora, truths and environments are kept in --cache.

Every system is a process of its own, on two cores, over the same Parquet files. "work s" is from these files
to the system's result on disk, with the process started, the libraries loaded and a small corpus worked on
before (--warm, --warm-rounds: Java compiles what it sees often); "from start s" is of another process, from
its start, without the small corpus. Memory and what is shuffled are of one more, whose time does not count:
looking at memory and Spark's event log take time of their own.

Modes:
    compare     the table of systems (default)
    scaling     ours on 100,000 and 1,000,000 documents of recombined paragraphs (--documents: other sizes)
    skew        6,000 near-identical pages among 13,000; half of 20,000 and of 40,000 pages in one template
    threshold   the share of pairs of similarity exactly 0.8 that are found
    stage       the stage on Delta tables: everything at once, and a tenth arriving later
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from dedup_parts import environments, measure, modes, prepared, quality, show
from dedup_parts.corpus import TooLittleTextError
from dedup_parts.environments import OURS, PEERS, System
from dedup_parts.measure import note
from dedup_parts.sources import SourceError


def parse(command_line: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--mode", choices=["compare", "scaling", "skew", "threshold", "stage"], default="compare"
    )
    parser.add_argument(
        "--documents",
        type=_sizes,
        metavar="N[,N...]",
        help="corpus size; default 50000, for scaling 100000,1000000, for stage 20000",
    )
    parser.add_argument(
        "--peers",
        metavar="A,B,...",
        help=f"of {', '.join(PEERS)}; 'none' runs ours alone; default: those that are installed",
    )
    parser.add_argument(
        "--install-peers", action="store_true", help="make the peers' environments, then stop"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="rounds of all systems in turn; medians"
    )
    parser.add_argument(
        "--starts",
        choices=["warm", "cold", "both"],
        default="both",
        help="measure work in a running process, from its start, or both (two runs a system)",
    )
    parser.add_argument(
        "--warm",
        type=int,
        default=5_000,
        metavar="N",
        help="documents that a system works on before it is measured (default 5000)",
    )
    parser.add_argument(
        "--warm-rounds",
        type=int,
        default=8,
        metavar="N",
        help="how many times it does so (default 8: a process that has been at work, not one that begins to)",
    )
    parser.add_argument("--text-folder", type=Path, metavar="DIR", help="text files to make the corpus from")
    parser.add_argument("--seed", type=int, default=1, help="of the corpus")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="of our stage")
    parser.add_argument(
        "--conf", type=json.loads, default={}, metavar="JSON", help="added to the Spark session"
    )
    parser.add_argument("--timeout", type=float, default=3600, metavar="S", help="for one run of one system")
    parser.add_argument("--prepare", action="store_true", help="make corpus and truth, then stop")
    parser.add_argument(
        "--histogram", action="store_true", help="also print the corpus' similarity histogram"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="also print Spark's stages with their shuffles"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every figure of every run")
    parser.add_argument(
        "--cache", type=Path, default=Path("~/.cache/webscale-rl-bench").expanduser(), metavar="DIR"
    )
    return parser.parse_args(command_line)


def main() -> int:
    """Run the chosen mode.

    Returns:
        0, or 1 where something could not be measured.
    """
    given = parse()
    # So that the system that is being measured is ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given.cache = given.cache.expanduser().resolve()
    if given.install_peers:
        return _install(given)
    kept: dict[str, Any] = {"machine": _machine(), "mode": given.mode, "arguments": sys.argv[1:]}
    try:
        texts = prepared.paragraphs(given.cache, given.text_folder)
        if given.mode == "compare":
            failed = compare(given, texts, kept)
        else:
            failed = modes.MODES[given.mode](given, texts, kept)
    except (SourceError, TooLittleTextError, modes.NotMeasuredError) as error:
        note(f"dedup.py: {error}")
        return 1
    if given.json:
        given.json.write_text(json.dumps(kept, indent=1, default=str) + "\n")
    return 1 if failed else 0


def compare(given: argparse.Namespace, texts: Path, kept: dict[str, Any]) -> bool:
    """Ours and the peers over one corpus; whether a system failed."""
    failed = False
    kept["corpora"] = []
    for documents in given.documents or [50_000]:
        corpus = prepared.with_truth(prepared.standard(given.cache, texts, documents, given.seed))
        warm = prepared.warming(given.cache, texts, given.warm, given.seed)
        facts = corpus.facts()
        if given.histogram:
            facts["nearest_of_2000"] = prepared.histogram(corpus.folder)
        show.corpus(facts)
        entry: dict[str, Any] = {"facts": facts, "runs": []}
        kept["corpora"].append(entry)
        if given.prepare:
            continue
        systems = [OURS, *_chosen(given)]
        starts = {"warm": [True], "cold": [False], "both": [True, False]}[given.starts]
        runs: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
        for round_number in range(given.repeat):
            for system in systems:
                timed = [(start, False) for start in starts]
                counted_run = [(system.shuffles, True)] if round_number == 0 else []
                for warmed, counted in timed + counted_run:
                    run = _one(given, system, corpus, warm if warmed else None, counted)
                    run["round"] = round_number
                    runs[system.name].append(run)
                    entry["runs"].append(run)
                    if run["error"]:
                        failed = True
                        break
        rows = [_summary(system, runs[system.name], len(corpus.ids)) for system in systems]
        entry["summary"] = rows
        show.comparison(rows, len(corpus.ids))
        if given.verbose:
            for system in systems:
                show.stages(system.name, next((r["shuffle"] for r in runs[system.name] if r["shuffle"]), []))
    return failed


def _one(
    given: argparse.Namespace, system: System, corpus: prepared.Prepared, warm: Path | None, counted: bool
) -> dict[str, Any]:
    """One run of one system, judged; a counted one has its memory watched and writes Spark's event log."""
    how = "counting bytes" if counted else "warmed up" if warm else "from its start"
    note(f"{system.name}: {len(corpus.ids)} documents, {how}")
    work = given.cache / "work" / system.name
    rounds = 1 if counted else given.warm_rounds
    options = dict(system.options, conf=given.conf, warm_rounds=rounds, events=counted)
    if system is OURS:
        options["settings"] = given.settings
    python = environments.python_of(given.cache, system)
    outcome = measure.run(
        *(system.name, system.runner, str(python), corpus.folder, work, warm, options, given.timeout),
        watch_memory=counted,
    )
    found = asdict(outcome) | {"counted": counted}
    if outcome.error:
        note(f"{system.name}: failed: {outcome.error}")
        return found
    judged = quality.judge(
        corpus.clusters, corpus.pairs, *quality.read_result(work / "result.parquet", corpus.ids)
    )
    found["quality"] = judged.as_dict()
    note(f"{system.name}: {outcome.seconds:.1f} s of work, pair recall {judged.pair_recall:.4f}")
    return found


def _summary(system: System, runs: list[dict[str, Any]], documents: int) -> dict[str, Any]:
    """Medians of the runs of one system; its quality is that of the worst run (by pair recall)."""
    good = [run for run in runs if not run["error"]]
    row: dict[str, Any] = {"system": system.name, "verifies": system.verifies, "runs": len(good)}
    row["error"] = next((run["error"] for run in runs if run["error"]), "")
    if not good:
        return row
    warm = [run["seconds"] for run in good if run["warmed"] and not run["counted"]]
    cold = [run["with_start"] for run in good if run["with_start"] is not None and not run["counted"]]
    row["version"] = good[0]["version"]
    row["seconds"] = statistics.median(warm) if warm else None
    row["with_start"] = statistics.median(cold) if cold else None
    fastest = row["seconds"] or row["with_start"]
    row["documents_per_second"] = documents / fastest
    for kind in ("total", "python", "worker", "java"):
        row[f"memory_{kind}"] = max(run["memory"][kind] for run in good)
    row["shuffle_per_document"] = _median_shuffle(good, documents)
    logged = [run for run in good if run["shuffle"]]
    row["shuffle_of_steps"] = _steps(logged[-1], documents) if logged else {}
    row |= min((run["quality"] for run in good), key=lambda judged: judged["pair_recall"])
    return row


def _median_shuffle(runs: list[dict[str, Any]], documents: int) -> float | None:
    """Bytes written to shuffles a document; None for systems without an event log."""
    totals = [sum(stage["bytes"] for stage in run["shuffle"]) for run in runs if run["shuffle"]]
    return statistics.median(totals) / documents if totals else None


def _steps(run: dict[str, Any], documents: int) -> dict[str, float]:
    """Bytes written to shuffles a document by the step that wrote them, for a system that names its steps."""
    found: dict[str, float] = {}
    for stage in run["shuffle"]:
        if stage["step"] and stage["bytes"]:
            found[stage["step"]] = found.get(stage["step"], 0) + stage["bytes"] / documents
    return found


def _chosen(given: argparse.Namespace) -> list[System]:
    """The peers to run."""
    if given.peers == "none":
        return []
    if given.peers is None:
        return [
            system
            for system in PEERS.values()
            if system.by_default and environments.python_of(given.cache, system)
        ]
    chosen = []
    for name in given.peers.split(","):
        if name not in PEERS:
            raise modes.NotMeasuredError(f"no peer {name!r}: known are {', '.join(PEERS)}")
        if not environments.python_of(given.cache, PEERS[name]):
            raise modes.NotMeasuredError(
                f"{name} is not installed: python benchmarks/dedup.py --install-peers"
            )
        chosen.append(PEERS[name])
    return chosen


def _install(given: argparse.Namespace) -> int:
    names = given.peers.split(",") if given.peers else list(PEERS)
    failed = False
    for name in names:
        try:
            environments.install(given.cache, PEERS[name])
            note(f"{name}: {environments.python_of(given.cache, PEERS[name])}")
        except (RuntimeError, KeyError) as error:
            note(f"dedup.py: {error}")
            failed = True
    return 1 if failed else 0


def _machine() -> dict[str, Any]:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "gigabytes": round(pages / 2**30, 1),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _sizes(text: str) -> list[int]:
    sizes = [int(part.replace("_", "")) for part in text.split(",")]
    if any(size < 100 for size in sizes):
        raise argparse.ArgumentTypeError("at least 100 documents")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
