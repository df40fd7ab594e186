"""The training examples of the embedded default's adapter, out of the passages in this folder.

    python training/make_examples.py OUT.jsonl [--passages FOLDER_OR_FILE] [--texts FILE]

Each passage gives examples of the four things that the small model is asked for: the question for an answer,
the answer to a question (or "unanswerable"), the verdict on a pair, and the subject. The prompts are those
of conf/prompts/tuned_*.yml. How the files are written is in README.md beside this script.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from webscale_rl.core.files import find_file
from webscale_rl.distill.examples import Example, write_jsonl
from webscale_rl.llm.prompts import Domain, load_domains, load_prompt
from webscale_rl.llm.template import render
from webscale_rl.stages.check.gates import judge
from webscale_rl.stages.screen.topic import NOTHING, beginning, domain_label
from webscale_rl.text.context import supporting_context
from webscale_rl.text.normalise import content_words
from webscale_rl.text.sentences import sentences

HERE = Path(__file__).parent
VERDICTS = tuple(judge.VERDICTS)
_LONG = 400  # characters
# Of a domain's personas the first so many take part: one more would change who asks in each example, and so
# the adapter.
PERSONAS = 5
SPOILED = {"premise": "wrong", "qualifier": "wrong", "wrong": "wrong", "mistake": "wrong", "leak": "leaking"}


@dataclass
class Passage:
    """One block of a file.

    Attributes:
        good: (question, answer); unanswered: questions; unclear: (question, answer);
        spoiled: (fault, question, answer).
    """

    text: str
    title: str = ""
    domain: str = ""
    good: list[tuple[str, str]] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    unclear: list[tuple[str, str]] = field(default_factory=list)
    spoiled: list[tuple[str, str, str]] = field(default_factory=list)


def read_passages(path: Path) -> list[Passage]:
    """The passages of a file.

    Raises:
        ValueError: a line is none of the format; the message has file and number.
    """
    found: list[Passage] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        if line.startswith("# "):
            found.append(Passage(line[2:].replace(" ¶ ", "\n\n")))
            continue
        try:
            _add(found[-1], line)
        except (ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{path}:{number}: {error}: {line[:80]}") from error
    return found


def _add(passage: Passage, line: str) -> None:
    if line.startswith("= "):
        passage.title = line[2:].strip()
        return
    if line.startswith("@ "):
        passage.domain = line[2:].strip()
        return
    kind, question, *rest = [part.strip() for part in line.split("|")]
    plain = passage.text.replace("\n\n", " ")
    if rest and rest[0] not in passage.text and rest[0] not in plain:
        raise ValueError(f"the answer {rest[0]!r} is not in the passage")
    if kind == "?":
        passage.unanswered.append(question)
    elif kind == "~":
        passage.unclear.append((question, rest[0] if rest else _likely_answer(passage, question)))
    elif kind.startswith("!"):
        if kind[1:] not in SPOILED:
            raise ValueError(f"unknown fault {kind[1:]!r}")
        passage.spoiled.append((kind[1:], question, rest[0]))
    else:
        if kind not in passage.text and kind not in plain:
            raise ValueError(f"the answer {kind!r} is not in the passage")
        passage.good.append((question, kind))


def _likely_answer(passage: Passage, question: str) -> str:
    """The answer of the good question that shares most words with an unclear one."""
    asked = set(content_words(question))
    scored = [(len(asked & set(content_words(q))), answer) for q, answer in passage.good]
    best = max(scored, default=(0, ""))
    return best[1] if best[0] else ""


def fact(passage: Passage, question: str, answer: str) -> str:
    """The sentence that a pair rests on: of those that hold the answer, the one nearest to the question."""
    asked = set(content_words(question))
    holding = []
    for start, end in sentences(passage.text):
        sentence = passage.text[start:end]
        if answer in sentence:
            shared = len(asked & set(content_words(sentence)))
            holding.append((shared, -start, sentence))
    return max(holding)[2] if holding else answer


def support(passage: Passage, question: str, answer: str) -> str:
    """That sentence with what introduces it."""
    return supporting_context(fact(passage, question, answer), passage.text)


class Maker:
    """Renders examples with the prompts in conf/."""

    def __init__(self) -> None:
        self.domains = {domain.id: domain for domain in load_domains(find_file("domains", "", ".yml"))}
        self._prompts = {
            task: load_prompt(find_file(f"tuned_{task}", "prompts", ".yml")).user
            for task in ("question", "answer", "judge", "topic")
        }
        self.subjects = (*(domain_label(domain) for domain in self.domains.values()), NOTHING)

    def _example(
        self, task: str, key: str, reply: str, choices: tuple[str, ...] = (), **values: str
    ) -> Example:
        prompt = render(self._prompts[task], values)
        return Example(prompt, f" {reply}", key, task, tuple(f" {choice}" for choice in choices))

    def of_passage(self, passage: Passage, others: list[Passage]) -> Iterator[Example]:
        """All examples of a passage.

        Args:
            others: passages whose questions this one does not answer.
        """
        key = hashlib.sha256(passage.text.encode()).hexdigest()[:16]
        here = {"title": passage.title}
        answers = [answer for _, answer in passage.good]
        for number, (question, answer) in enumerate(passage.good):
            near = here | self.near(passage, question, answer)
            persona = self._persona(passage, question)
            yield self._example("question", key, question, persona=persona, answer=answer, **near)
            yield self._example("answer", key, answer, question=question, **near)
            if _chance(question, 2) or passage.unclear or passage.spoiled:
                pair = near | {"question": question, "answer": answer}
                yield self._example("judge", key, "good", VERDICTS, **pair)
            # Of a short passage the support is nearly all.
            if len(passage.text) > _LONG:
                yield self._example("answer", key, answer, question=question, context=passage.text, **here)
            # Another question's answer from the same text, of the same kind, is wrong.
            if _chance(question, 3) == 0:
                alike = [a for a in answers if a != answer and _shape(a) == _shape(answer)]
                if alike:
                    other = alike[_chance(question, len(alike))]
                    pair = here | self.near(passage, question, other)
                    pair |= {"question": question, "answer": other}
                    yield self._example("judge", key, "wrong", VERDICTS, **pair)
            # With the sentence taken away that states it, a question has no answer.
            if _chance(question, 3) == 1 and number:
                elsewhere = support(passage, *passage.good[number - 1])
                if answer not in elsewhere:
                    yield self._example(
                        "answer", key, "unanswerable", question=question, context=elsewhere, **here
                    )
        for question in passage.unanswered:
            yield self._example(
                "answer", key, "unanswerable", question=question, context=passage.text, **here
            )
            if passage.good and _chance(question, 2):
                near = support(passage, question, passage.good[_chance(question, len(passage.good))][1])
                yield self._example("answer", key, "unanswerable", question=question, context=near, **here)
        for question, answer in passage.unclear:
            if answer:
                pair = here | self.near(passage, question, answer)
                pair |= {"question": question, "answer": answer}
                yield self._example("judge", key, "unclear", VERDICTS, **pair)
        for fault, question, answer in passage.spoiled:
            near = here | self.near(passage, question, answer)
            pair = near | {"question": question, "answer": answer}
            yield self._example("judge", key, SPOILED[fault], VERDICTS, **pair)
            if fault == "premise":
                yield self._example("answer", key, "unanswerable", question=question, **near)
                yield self._example(
                    "answer", key, "unanswerable", question=question, context=passage.text, **here
                )
        if others:
            stranger = others[_chance(passage.text, len(others))]
            if stranger.good:
                question = stranger.good[0][0]
                yield self._example(
                    "answer", key, "unanswerable", question=question, context=passage.text, **here
                )
        if passage.domain:
            yield self.subject(passage.title, passage.text, domain_label(self.domains[passage.domain]), key)

    @staticmethod
    def near(passage: Passage, question: str, answer: str) -> dict[str, str]:
        """The context and the quotation of a pair."""
        sentence = fact(passage, question, answer)
        return {"context": supporting_context(sentence, passage.text), "quotation": sentence}

    def subject(self, title: str, text: str, label: str, key: str) -> Example:
        """The example of a text's subject."""
        return self._example("topic", key, label, self.subjects, title=title, passage=beginning(text))

    def _persona(self, passage: Passage, question: str) -> str:
        known: Domain | None = self.domains.get(passage.domain)
        domain = known or next(iter(self.domains.values()))
        personas = [p.name for p in domain.personas[:PERSONAS]]
        return personas[_chance(question, len(personas))] if known else "general reader"


def _chance(text: str, of: int) -> int:
    """A number from 0 to `of` - 1 that only the text determines."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % max(of, 1)


def _shape(answer: str) -> str:
    """What kind of answer it looks like."""
    if re.fullmatch(r"\d{4}", answer):
        return "year"
    if re.search(r"\d", answer):
        return "number"
    return "name" if answer[:1].isupper() else "words"


def make(passages: list[Passage], texts: list[Passage]) -> list[Example]:
    """The examples of passages, and of texts that are not worth asking about."""
    maker = Maker()
    found: list[Example] = []
    for place, passage in enumerate(passages):
        others = [p for p in (passages[place - 7], passages[place - 13]) if p is not passage]
        found += maker.of_passage(passage, others)
    for text in texts:
        key = hashlib.sha256(text.text.encode()).hexdigest()[:16]
        found.append(maker.subject(text.title, text.text, NOTHING, key))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--passages", type=Path, default=HERE / "passages", help="a file, or a folder of them"
    )
    parser.add_argument("--texts", type=Path, default=HERE / "uninformative.txt")
    options = parser.parse_args()
    files = sorted(options.passages.glob("*.txt")) if options.passages.is_dir() else [options.passages]
    passages = [passage for file in files for passage in read_passages(file)]
    texts = read_passages(options.texts) if options.texts.exists() else []
    examples = make(passages, texts)
    write_jsonl(options.out, examples)
    counts: dict[str, int] = {}
    for example in examples:
        label = f"{example.task}: {example.reply.strip()}" if example.choices else example.task
        label = "answer: unanswerable" if example.reply == " unanswerable" else label
        counts[label] = counts.get(label, 0) + 1
    print(f"{len(passages)} passages, {sum(len(p.good) for p in passages)} facts, {len(examples)} examples")
    for label, count in sorted(counts.items()):
        print(f"  {label}: {count}")


if __name__ == "__main__":
    main()
