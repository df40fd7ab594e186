"""What the small model is measured at: answers, refusals, verdicts, subjects, and whole pairs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from benchmarks.small_model_parts.asking import Asker, text_of
from training.make_examples import Maker, Passage, support
from webscale_rl.answers.registry import agree
from webscale_rl.answers.types import SPAN
from webscale_rl.config.load import Config
from webscale_rl.stages.check.gates.base import PairView, RuleGate
from webscale_rl.stages.check.gates.judge import VERDICTS
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.check.gates.rules import evaluate, same_question
from webscale_rl.stages.check.settings import CheckSettings
from webscale_rl.stages.screen.topic import NOTHING, beginning, domain_label
from webscale_rl.text.context import chosen_spans, supporting_context
from webscale_rl.text.normalise import normalise_answer

UNANSWERABLE = "unanswerable"


def answers(asker: Asker, passages: list[Passage]) -> dict[str, float]:
    """Shares of answers equal to the reference, from the passage and from the supporting sentences, and of
    questions that the text does not answer that are refused.
    """
    known = [(p, question, answer) for p in passages for question, answer in p.good]
    whole = asker.ask("answer", [_whole(p, question) for p, question, _ in known])
    narrow = asker.ask(
        "answer",
        [{"title": p.title, "context": support(p, q, a), "question": q} for p, q, a in known],
    )
    strangers = [(p, passages[place - 7].good) for place, p in enumerate(passages)]
    foreign = asker.ask("answer", [_whole(p, q) for p, pairs in strangers for q, _ in pairs])
    unstated = asker.ask("answer", [_whole(p, question) for p in passages for question in p.unanswered])
    return {
        "answers from the passage equal": _equal(known, whole),
        "answers from the passage agree, as spans": sum(
            agree(answer, text_of(c), SPAN).agrees for (*_, answer), c in zip(known, whole, strict=True)
        )
        / len(known),
        "answers from the support equal": _equal(known, narrow),
        "both equal each other": sum(
            normalise_answer(text_of(a)) == normalise_answer(text_of(b))
            for a, b in zip(whole, narrow, strict=True)
        )
        / len(known),
        "unanswerable: another document's question": _refused(foreign),
        "unanswerable: not stated": _refused(unstated),
    }


def judge(asker: Asker, passages: list[Passage]) -> dict[str, float]:
    """F1 on good against spoiled pairs at a share of one half, and the area under the curve."""
    pairs: list[tuple[Passage, str, str, bool]] = []
    for passage in passages:
        pairs += [(passage, q, a, True) for q, a in passage.good]
        pairs += [(passage, q, a, False) for q, a in passage.unclear if a]
        pairs += [(passage, q, a, False) for _, q, a in passage.spoiled]
    shares = verdict_shares(
        asker,
        [{"title": p.title, "question": q, "answer": a} | Maker.near(p, q, a) for p, q, a, _ in pairs],
    )
    is_good = [good for *_, good in pairs]
    said = [share >= 0.5 for share in shares]
    hits = sum(s and g for s, g in zip(said, is_good, strict=True))
    precision, recall = hits / max(sum(said), 1), hits / sum(is_good)
    return {
        "pairs": len(pairs),
        "good": sum(is_good),
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / max(precision + recall, 1e-9),
        "area under the curve": area(shares, is_good),
    }


def verdict_shares(asker: Asker, values: list[dict[str, str]]) -> list[float]:
    """The probability of good among the four verdicts, for each pair."""
    found = []
    for completion in asker.ask("judge", values, tuple(VERDICTS)):
        shares = [math.exp(score) for score in completion.choice_logprobs or (0.0,)]
        found.append(shares[0] / sum(shares))
    return found


def subjects(asker: Asker, passages: list[Passage], junk: list[Passage]) -> dict[str, float]:
    """Shares of passages whose domain is right, that are kept, and of junk that is not."""
    maker = Maker()
    labels = maker.subjects

    def best(texts: list[Passage]) -> list[str]:
        values = [{"title": t.title, "passage": beginning(t.text)} for t in texts]
        return [text_of(completion) for completion in asker.ask("topic", values, labels)]

    named = best(passages)
    right = [label == domain_label(maker.domains[p.domain]) for label, p in zip(named, passages, strict=True)]
    return {
        "domain right": sum(right) / len(right),
        "passages kept": sum(label != NOTHING for label in named) / len(named),
        "junk rejected": sum(label == NOTHING for label in best(junk)) / len(junk),
    }


@dataclass
class Pair:
    """A pair that the small model wrote, and what the gates say of it: None if a model was not asked.

    `ordinal`: as in the table pairs.
    """

    passage: Passage
    question: str
    answer: str
    answer_type: str
    sentence: str
    kind: str
    mean_logprob: float
    min_logprob: float
    ordinal: int = 0
    rules: tuple[str, ...] = ()
    support_agrees: bool | None = None
    passage_agrees: bool | None = None
    good: float | None = None
    is_twin: bool = False

    def accepted(self, settings: CheckSettings) -> bool:
        """Whether it passes all gates."""
        return (
            self.is_confirmed()
            and self.good is not None
            and self.good >= settings.judge.min_good
            and question_logprob(self.question, self.mean_logprob) >= settings.min_question_logprob
        )

    def is_confirmed(self) -> bool:
        """Whether it passes the gates that have no threshold to choose."""
        return bool(self.support_agrees and self.passage_agrees and not self.rules and not self.is_twin)


def write_pairs(
    asker: Asker, passages: list[Passage], config: Config, count: int, least: float
) -> list[Pair]:
    """Pairs for the spans of each passage, with the gates' word on each.

    Args:
        count: personas of a passage, one span each.
        least: least `question_logprob` of the pairs that a model's gates are asked about, if they pass the
            rules; to save time, as a run does.
    """
    maker = Maker()
    asked: list[tuple[Passage, Any, str]] = []
    for passage in passages:
        domain = maker.domains.get(passage.domain) or maker.domains["other"]
        for number, span in enumerate(chosen_spans(passage.text, passage.title, None, count)):
            asked.append((passage, span, domain.personas[number % len(domain.personas)].name))
    near = [
        {
            "title": p.title,
            "context": supporting_context(span.sentence, p.text),
            "quotation": span.sentence,
        }
        for p, span, _ in asked
    ]
    written = asker.ask(
        "question",
        [n | {"persona": r, "answer": s.text} for n, (_, s, r) in zip(near, asked, strict=True)],
    )
    pairs = [
        Pair(
            p,
            text_of(completion),
            span.text,
            span.answer_type,
            span.sentence,
            span.kind,
            -99.0 if completion.mean_logprob is None else completion.mean_logprob,
            -99.0 if completion.min_logprob is None else completion.min_logprob,
        )
        for (p, span, _), completion in zip(asked, written, strict=True)
    ]
    gates = [gate for gate in map(GATES.get, config.check.gates) if isinstance(gate, RuleGate)]
    seen: dict[int, list[str]] = {}
    for pair in pairs:
        view = PairView(
            pair.question, pair.answer, pair.answer_type, pair.sentence, pair.passage.text, pair.passage.title
        )
        said = evaluate(view, gates, config.check)
        pair.rules = tuple(reason for reason in said.values() if reason)
        earlier = seen.setdefault(id(pair.passage), [])
        pair.ordinal = len(earlier)
        pair.is_twin = any(same_question(pair.question, other) for other in earlier)
        earlier.append(pair.question)
    left = [
        (n | {"question": pair.question, "answer": pair.answer}, pair)
        for n, pair in zip(near, pairs, strict=True)
        if not pair.rules and question_logprob(pair.question, pair.mean_logprob) >= least
    ]
    by_support = asker.ask("answer", [values for values, _ in left])
    by_passage = asker.ask("answer", [_whole(pair.passage, pair.question) for _, pair in left])
    shares = verdict_shares(asker, [values for values, _ in left])
    for (_, pair), first, second, share in zip(left, by_support, by_passage, shares, strict=True):
        pair.support_agrees = agree(pair.answer, text_of(first), pair.answer_type).agrees
        pair.passage_agrees = agree(pair.answer, text_of(second), pair.answer_type).agrees
        pair.good = share
    return pairs


def question_logprob(question: str, mean_logprob: float) -> float:
    """What the gate likelihood compares with its threshold."""
    return mean_logprob * len(re.findall(r"\S+", question))


def area(scores: list[float], is_good: list[bool]) -> float:
    """The probability that a good one scores higher than another one."""
    good = [s for s, g in zip(scores, is_good, strict=True) if g]
    rest = [s for s, g in zip(scores, is_good, strict=True) if not g]
    if not good or not rest:
        return float("nan")
    won = sum((g > r) + 0.5 * (g == r) for g in good for r in rest)
    return won / (len(good) * len(rest))


def _whole(passage: Passage, question: str) -> dict[str, str]:
    return {"title": passage.title, "context": passage.text, "question": question}


def _equal(known: list[tuple[Passage, str, str]], given: list[Any]) -> float:
    same = [
        normalise_answer(answer) == normalise_answer(text_of(completion))
        for (_, _, answer), completion in zip(known, given, strict=True)
    ]
    return sum(same) / len(same)


def _refused(given: list[Any]) -> float:
    return sum(text_of(completion).lower() == UNANSWERABLE for completion in given) / max(len(given), 1)
