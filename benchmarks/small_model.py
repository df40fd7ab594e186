"""What the embedded small model can do, untuned and tuned, on texts that were used for nothing else.

    python benchmarks/small_model.py measure [--adapter none]        # answers, refusals, verdicts, subjects
    python benchmarks/small_model.py pairs --out R                   # pairs to read blind, and controls
    python benchmarks/small_model.py reading --key R.key.jsonl --verdicts A.jsonl B.jsonl
    python benchmarks/small_model.py calibrate --out C               # pairs of training/calibration.txt
    python benchmarks/small_model.py thresholds --key C.key.jsonl --verdicts A.jsonl B.jsonl
    python benchmarks/small_model.py thresholds --key benchmarks/small_model_parts/read_calibration.jsonl
    python benchmarks/small_model.py same --model FOLDER --peft FOLDER   # vLLM beside llama.cpp

measure and pairs read benchmarks/small_model_parts/test_*.txt, calibrate what thresholds are chosen on. A
verdict file has one JSON object a line: number and good (true or false), and why if not. same needs
xllamacpp beside vLLM. Nothing here needs Spark or Java.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.dedup_parts.show import table  # noqa: E402
from benchmarks.small_model_parts import reading, tasks  # noqa: E402
from benchmarks.small_model_parts.asking import Asker, text_of  # noqa: E402
from training.make_examples import Passage, read_passages  # noqa: E402
from webscale_rl.config import load as config  # noqa: E402

PARALLEL = 1
HERE = Path(__file__).parent / "small_model_parts"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=("measure", "pairs", "reading", "calibrate", "thresholds", "same"))
    parser.add_argument("--adapter", default="packaged", help="a GGUF adapter, packaged (default) or none")
    parser.add_argument("--passages", type=Path, nargs="*", help="other files of passages")
    parser.add_argument(
        "--out", type=Path, default=Path("reading"), help="pairs, calibrate: beginning of the file names"
    )
    parser.add_argument("--controls", type=int, default=20, help="pairs: spoiled ones among them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--key", type=Path, help="reading, thresholds: R.key.jsonl")
    parser.add_argument("--verdicts", type=Path, nargs="+", help="one file for each reader; reading: two")
    parser.add_argument("--personas", type=int, default=10, help="pairs, calibrate: spans of a passage")
    parser.add_argument(
        "--written", type=int, default=3, help="pairs: of so many spans, what is not accepted is read too"
    )
    parser.add_argument(
        "--least", type=float, default=-2.5, help="pairs, calibrate: of less likely pairs no model is asked"
    )
    parser.add_argument("--model", help="same: the base model's folder, for vLLM")
    parser.add_argument("--peft", help="same: the adapter as peft saves it")
    return parser.parse_args()


def asker(options: argparse.Namespace) -> Asker:
    """The embedded engine as Spark's workers have it: one process and one thread a core."""
    adapter = None if options.adapter == "none" else options.adapter
    return Asker({"engine": "llamacpp", "options": {"adapter": adapter, "parallel": PARALLEL}})


def passages(options: argparse.Namespace, default: list[Path]) -> list[Passage]:
    """The passages to work on."""
    return [passage for path in options.passages or default for passage in read_passages(path)]


def measure(options: argparse.Namespace) -> None:
    """The tasks one by one."""
    running = asker(options)
    texts = passages(options, sorted(HERE.glob("test_*.txt")))
    junk = read_passages(HERE / "uninformative_test.txt")
    found: dict[str, float] = {}
    found |= tasks.answers(running, texts)
    found |= {f"judge: {name}": value for name, value in tasks.judge(running, texts).items()}
    found |= tasks.subjects(running, texts, junk)
    print(f"{len(texts)} passages, adapter {options.adapter}")
    table(
        ["figure", "value"],
        [[name, f"{value:.0f}" if value > 1 else f"{value:.3f}"] for name, value in found.items()],
    )
    print(
        f"{running.requests} requests in {running.seconds:.0f} s, "
        f"{running.tokens / running.seconds:.0f} tokens/s"
    )


def pairs(options: argparse.Namespace) -> None:
    """Pairs as the embedded default writes them, for readers."""
    running, settings = asker(options), config.load()
    texts = passages(options, sorted(HERE.glob("test_*.txt")))
    started = time.perf_counter()
    least = min(options.least, settings.check.min_question_logprob)
    written = tasks.write_pairs(running, texts, settings, options.personas, least)
    seconds = time.perf_counter() - started
    accepted = [pair.accepted(settings.check) for pair in written]
    items = [
        _item(pair, is_in)
        for pair, is_in in zip(written, accepted, strict=True)
        if is_in or pair.ordinal < options.written
    ]
    spoiled = reading.controls(texts, options.controls, options.seed)
    reading.write_items(items, spoiled, options.out, options.seed)
    print(
        f"{len(texts)} passages, {len(written)} pairs written, {sum(accepted)} accepted "
        f"({sum(accepted) / len(texts):.2f} a passage), {seconds / len(texts):.1f} s a passage; "
        f"{len(spoiled)} controls among them: {options.out.with_suffix('.items.jsonl')}"
    )


def _item(pair: tasks.Pair, accepted: bool) -> dict[str, Any]:
    return {
        "title": pair.passage.title,
        "passage": pair.passage.text,
        "question": pair.question,
        "answer": pair.answer,
        "kind": "accepted" if accepted else "written",
        "span": pair.kind,
        "ordinal": pair.ordinal,
        "rules": list(pair.rules),
        "support_agrees": pair.support_agrees,
        "passage_agrees": pair.passage_agrees,
        "judged_good": None if pair.good is None else round(pair.good, 4),
        "mean_logprob": round(pair.mean_logprob, 4),
        "min_logprob": round(pair.min_logprob, 4),
    }


def _areas(items: list[dict[str, Any]], is_good: list[bool]) -> None:
    """How well each score tells good pairs from others."""
    scores = {
        what: [float(one[what]) for one in items] for what in ("mean_logprob", "min_logprob", "judged_good")
    }
    scores["question_logprob"] = [_question_logprob(one) for one in items]
    for what, values in scores.items():
        print(f"area under the curve of {what}: {tasks.area(values, is_good):.3f}")


def _question_logprob(item: dict[str, Any]) -> float:
    return tasks.question_logprob(item["question"], item["mean_logprob"])


def _key(path: Path) -> dict[int, dict[str, Any]]:
    """What the read pairs are, by number, with their texts (kept apart while they are to be read blind)."""
    key = {item["number"]: item for item in reading.read_jsonl(path)}
    texts = path.with_name(path.name.replace(".key.", ".items."))
    if texts != path:
        for item in reading.read_jsonl(texts):
            key[item["number"]] |= item
    return key


def _verdicts(path: Path) -> dict[int, bool]:
    return {item["number"]: bool(item["good"]) for item in reading.read_jsonl(path)}


def read(options: argparse.Namespace) -> None:
    """What two readers found, apart and together."""
    key = _key(options.key)
    if len(options.verdicts) != 2:
        sys.exit("reading compares two readers: --verdicts A.jsonl B.jsonl")
    first, second = map(_verdicts, options.verdicts)
    both = sorted(key.keys() & first.keys() & second.keys())
    rows = []
    groups = {
        "written": [n for n in both if key[n]["kind"] != "control" and key[n]["ordinal"] < options.written],
        "accepted": [n for n in both if key[n]["kind"] == "accepted"],
        "controls": [n for n in both if key[n]["kind"] == "control"],
    }
    for name, numbers in groups.items():
        if not numbers:
            continue
        counts = [sum(reader[n] for n in numbers) for reader in (first, second)]
        agreed = sum(first[n] and second[n] for n in numbers)
        low, high = reading.interval(sum(counts) / 2, len(numbers))
        rows.append(
            [
                name,
                str(len(numbers)),
                *(f"{count / len(numbers):.2f}" for count in counts),
                f"{agreed / len(numbers):.2f}",
                f"{low:.2f} to {high:.2f}",
            ]
        )
    table(["pairs", "read", "good: first", "good: second", "good: both", "95% of their mean"], rows)
    same = sum(first[n] == second[n] for n in both) / len(both)
    agreement = reading.kappa([first[n] for n in both], [second[n] for n in both])
    print(f"{len(both)} read by both: they agree on {same:.2f}, kappa {agreement:.2f}")
    confirmed = [n for n in groups["written"] if key[n]["support_agrees"] and key[n]["passage_agrees"]]
    print(f"{len(confirmed)} of those written pass rules and round trips, and are not too unlikely; of these")
    _areas([key[n] for n in confirmed], [first[n] and second[n] for n in confirmed])


def calibrate(options: argparse.Namespace) -> None:
    """Pairs to choose thresholds on, for readers."""
    running, settings = asker(options), config.load()
    texts = passages(options, [ROOT / "training" / "calibration.txt"])
    written = tasks.write_pairs(running, texts, settings, options.personas, options.least)
    rules: dict[str, int] = {}
    for pair in written:
        for reason in pair.rules:
            rules[reason] = rules.get(reason, 0) + 1
    print(f"{len(texts)} passages, {len(written)} pairs")
    table(["rejected by", "pairs"], [[name, str(count)] for name, count in sorted(rules.items())])
    # What no threshold can let through, or none that would be chosen, need not be read.
    items = [_item(pair, pair.accepted(settings.check)) for pair in written if pair.is_confirmed()]
    reading.write_items(items, [], options.out, options.seed)
    print(f"{len(items)} pairs to read: {options.out.with_suffix('.items.jsonl')}")


def thresholds(options: argparse.Namespace) -> None:
    """Of the read pairs, how many each pair of thresholds lets through, and how many of them all readers
    found good.
    """
    key = _key(options.key)
    if options.verdicts:
        readers = [_verdicts(path) for path in options.verdicts]
        good = {n: all(reader[n] for reader in readers) for n in key if all(n in r for r in readers)}
    else:  # As they are kept: the pairs with their verdicts.
        good = {n: item["first"]["good"] and item["second"]["good"] for n, item in key.items()}
    scores = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
    logprobs = {n: _question_logprob(key[n]) for n in good}
    rows = []
    for least in (-2.5, -2.0, -1.7, -1.5, -1.4, -1.3, -1.2, -1.1, -1.0, -0.9, -0.8, -0.7, -0.6):
        cells = [f"{least:g}"]
        for share in scores:
            let = [n for n in good if logprobs[n] >= least and key[n]["judged_good"] >= share]
            cells.append(f"{sum(good[n] for n in let)} of {len(let)}")
        rows.append(cells)
    table(["log-probability by words", *(f"judged {share:g}" for share in scores)], rows)
    _areas([key[n] for n in good], list(good.values()))


def same(options: argparse.Namespace) -> None:
    """How many replies of vLLM and of llama.cpp are the same, with the same adapter, at temperature 0."""
    texts = passages(options, sorted(HERE.glob("test_*.txt")))
    values = [
        ("answer", {"title": p.title, "context": p.text, "question": q}) for p in texts for q, _ in p.good
    ]
    replies = []
    for spec in (
        {"engine": "llamacpp", "options": {"adapter": options.adapter, "parallel": PARALLEL}},
        {
            "engine": "vllm",
            "options": {
                "model": options.model,
                "adapter": options.peft,
                "args": {"dtype": "float32", "max_model_len": 2048, "enforce_eager": True},
            },
        },
    ):
        running = Asker(spec, 1 if spec["engine"] == "vllm" else 2)
        replies.append([text_of(c) for c in running.ask("answer", [value for _, value in values])])
        running.close()
    equal = sum(a == b for a, b in zip(*replies, strict=True))
    print(f"{equal} of {len(values)} replies are the same ({equal / len(values):.3f})")


def main() -> None:
    """Run one mode."""
    options = parse()
    modes = {
        "measure": measure,
        "pairs": pairs,
        "reading": read,
        "calibrate": calibrate,
        "thresholds": thresholds,
        "same": same,
    }
    modes[options.mode](options)


if __name__ == "__main__":
    main()
