"""An engine of no latency whose replies fit the prompts for capable models, so that its pairs are accepted.

Every passage gets two personas; a question quotes five words of the passage and asks for the next one, which
can be looked up again. What is measured with it is everything around a model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from udfs.engines.base import Completion, Engine, Request, refuse_unknown

_DOCUMENT = re.compile(r"<document>\nTitle: [^\n]*\n\n(.*)\n</document>\n\n(.*)", re.DOTALL)
_ASKED = re.compile(r"which word follows \[([^\]]*)\]")
_WORD = re.compile(r"[A-Za-z]{5,}\Z")
_DOMAINS = ("math", "natural_science", "coding", "other", "medicine_health", "education")
PERSONAS = ("careful reader", "curious pupil")
_VERDICT = {"reason": "", "correct": True, "self_contained": True, "leaks_answer": False}
_CONTEXT_WORDS = 5


class CannedEngine(Engine):
    """See the module's docstring; the option `tag` changes its identity and so every request."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        refuse_unknown(options, ("tag",))

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        refuse_unknown(options, ("tag",))
        model = hashlib.sha256(f"canned {options.get('tag', '')}".encode()).hexdigest()
        return {
            "engine": "canned",
            "model": model,
            "template": model,
            "dtype": "none",
            "name": "canned",
            "path": "",
        }

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for request in requests:
            last = request.messages[-1].content
            text = json.dumps(reply(last))
            yield Completion(
                request.request_id,
                text=text,
                prompt_tokens=len(last) // 4,
                completion_tokens=len(text) // 4,
                mean_logprob=-0.1,
                min_logprob=-0.2,
            )

    def close(self) -> None:
        """Nothing to free."""


def reply(prompt: str) -> dict[str, Any]:
    """The reply to the last message of a prompt."""
    found = _DOCUMENT.search(prompt)
    passage, task = found.groups() if found else ("", prompt)
    if task.startswith("Judge the document"):
        number = hashlib.sha256(passage.encode()).digest()[0]
        return {
            "reason": "",
            "informative": True,
            "self_contained": True,
            "answerable": True,
            "domain": _DOMAINS[number % len(_DOMAINS)],
            "personas": [{"name": name, "interest": "Wants to know the words."} for name in PERSONAS],
        }
    if task.startswith("Reader: "):
        return pair(passage, PERSONAS.index(task[8:].partition("\n")[0]))
    if "Examine this pair" in task:
        return _VERDICT
    asked = _ASKED.search(task)
    _, _, after = passage.partition(asked.group(1) + " ") if asked else ("", "", "")
    return {"answer": after.split()[0].strip(".,;:()") if after.split() else "unanswerable"}


def pair(passage: str, persona: int) -> dict[str, Any]:
    """The pair for a persona, by number, from its part of the passage."""
    words = passage.split(" ")
    start = len(words) * persona // len(PERSONAS)
    for at in range(start, len(words) - _CONTEXT_WORDS):
        context = " ".join(words[at : at + _CONTEXT_WORDS])
        answer = words[at + _CONTEXT_WORDS]
        if (
            _WORD.match(answer)
            and answer.lower() not in context.lower()
            and "\n" not in context
            and "[" not in context
            and "]" not in context
            and passage.count(context) == 1
        ):
            question = f"In the account of that subject, which word follows [{context}] there?"
            return {
                "question": question,
                "answer": answer,
                "answer_type": "span",
                "quotation": f"{context} {answer}",
            }
    return {
        "question": "What is missing?",
        "answer": "nothing",
        "answer_type": "span",
        "quotation": "nothing",
    }
