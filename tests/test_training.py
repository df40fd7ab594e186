"""The adapter's examples: well formed, enough, balanced, and apart from what is measured."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers import ROOT
from training.make_examples import PERSONAS, Passage, make, read_passages
from webscale_rl.core.files import find_file
from webscale_rl.distill.examples import Example
from webscale_rl.llm.prompts import load_domains
from webscale_rl.text.normalise import normalise_answer

FILES = sorted((ROOT / "training" / "passages").glob("*.txt"))
TRAINED = [passage for file in FILES for passage in read_passages(file)]
CALIBRATION = read_passages(ROOT / "training" / "calibration.txt")
TEST = [p for file in (ROOT / "benchmarks/small_model_parts").glob("test_*.txt") for p in read_passages(file)]
EXAMPLES = make(TRAINED, read_passages(ROOT / "training" / "uninformative.txt"))


def of(task: str) -> list[Example]:
    return [example for example in EXAMPLES if example.task == task]


def test_there_are_enough_over_all_domains() -> None:
    assert sum(len(passage.good) for passage in TRAINED) >= 900
    domains = Counter(passage.domain for passage in TRAINED if passage.domain)
    assert len(domains) == 10
    assert min(domains.values()) >= 20


@pytest.mark.parametrize(
    ("task", "negative"), [("answer", {"unanswerable"}), ("judge", {"wrong", "unclear", "leaking"})]
)
def test_a_third_of_answers_and_verdicts_is_negative(task: str, negative: set[str]) -> None:
    replies = [example.reply.strip() for example in of(task)]
    assert 0.3 <= sum(reply in negative for reply in replies) / len(replies) <= 0.45


def test_every_kind_of_answer_is_there() -> None:
    answers = [answer for passage in TRAINED for _, answer in passage.good]
    kinds = {
        "year": r"\d{4}",
        "date": r"\d{1,2} (Jan|Feb|March|Apr|May|Ju|Aug|Sep|Oct|Nov|Dec).*",
        "number": r"[\d.,]+ [a-z].*",
        "share": r".*(%|percent|per cent)",
        "name": r"[A-Z][\w.'-]+( [A-Z][\w.'-]+)+",
        "list": r".+, .+ and .+",
        "words": r"[a-z][a-z ]+",
    }
    for kind, pattern in kinds.items():
        assert sum(re.fullmatch(pattern, answer) is not None for answer in answers) >= 10, kind


def test_a_new_reader_of_a_domain_changes_no_example() -> None:
    # The adapter that ships was trained with the first five of each; `make adapter` is to give it again.
    domains = load_domains(find_file("domains", "", ".yml"))
    first = {persona.name for domain in domains for persona in domain.personas[:PERSONAS]}
    asked = {match[1] for example in of("question") if (match := re.search("Reader: (.+)", example.prompt))}
    assert asked == first | {"general reader"}


def test_no_good_question_holds_its_answer() -> None:
    for passage in TRAINED + CALIBRATION + TEST:
        for question, answer in passage.good:
            plain = normalise_answer(answer)
            assert f" {plain} " not in f" {normalise_answer(question)} ", question


def names(passages: list[Passage]) -> set[str]:
    """Names of two and more words, which tell what a text is about."""
    found = set()
    for passage in passages:
        found |= set(re.findall(r"\b[A-ZÀ-Þ][\w'-]{2,}(?: [A-ZÀ-Þ][\w'-]{2,})+", passage.text))
    return found


def test_what_is_measured_was_not_trained_on() -> None:
    corpus = []
    for line in (ROOT / "samples" / "corpus.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line, strict=False)
        except ValueError:
            continue
        corpus.append(Passage(str(row.get("text") or ""), str(row.get("title") or "")))
    trained, others = names(TRAINED), {"sample": corpus, "calibration": CALIBRATION, "test": TEST}
    common = {
        "New York",
        "United States",
        "Second World War",
        "First World War",
        "World War",
        "United Kingdom",
        "New Jersey",
        "North Carolina",
        "Nobel Prize",
    }
    for where, passages in others.items():
        for passage in passages:
            shared = names([passage]) & trained - common
            # A name may be met again, a text's own subject may not.
            assert len(shared) <= 2, (where, passage.title or passage.text[:60], shared)
            assert passage.text not in {p.text for p in TRAINED}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# A text.\nb|What?", "x.txt:2: the answer 'b' is not in the passage"),
        ("# A text.\n!odd|What?|text", "x.txt:2: unknown fault 'odd'"),
        ("text|What?", "x.txt:1: list index out of range"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_passages(tmp_path / "x.txt")
