"""The way of the published code, written anew, beside ours: the same documents, one endpoint, one model.

Filter and identify are a call each for every row, generate and check for every reader, made by ten threads in
the order of the rows; each prompt begins with its step's instructions; two examples, documents with their
pairs, are drawn anew for every question; JSON is asked for in words, a thought first, and looked for in the
reply; nothing is kept. Accepted is what its own check accepts. (Its repository, main.py and
webscale_rl/agent/agent.py; paper, section 3.)
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

from benchmarks.engine_parts import published_prompts as prompts
from benchmarks.engine_parts.around import SCRIPTED_GATES, configuration
from benchmarks.engine_parts.workload import filled
from webscale_rl import Pipeline
from webscale_rl.core.files import find_file
from webscale_rl.llm.prompts import load_domains

# Its defaults: threads, examples a question, tokens of a reply.
THREADS, EXAMPLES, MAX_TOKENS = 10, 2, 4096
# As in its examples for "Other", the shortest file of them: how many, and characters of a document.
LIBRARY, EXAMPLE_CHARACTERS = 7, 1400
# The README's, for a larger model.
_GATES = [
    *("lengths", "answer_leak", "passage_reference", "dangling_reference", "quotation", "answer_type"),
    *("question_word", "repetition", "copied_sentence", "duplicate_question", "round_trip", "judge"),
]
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


def domain_names() -> list[str]:
    """The domains as its prompts name them."""
    return [domain.name for domain in load_domains(find_file("domains.yml", "", ".yml"))]


class Published:
    """Ten threads around one endpoint; `texts` are other documents for examples, LIBRARY for each domain."""

    def __init__(self, base_url: str, model: str, key: str, texts: Sequence[str]) -> None:
        self._client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=5)
        self._model = model
        self._lock = threading.Lock()
        names = ("calls", "failed", "unreadable", "prompt", "prefilled", "written", "pairs", "accepted")
        self.counts = dict.fromkeys(names, 0)
        domains = domain_names()
        self._domains = ", ".join(domains)
        self._library = {
            domain: [
                filled(
                    prompts.EXAMPLE,
                    {
                        "document": text[:EXAMPLE_CHARACTERS],
                        "reader": "curious pupil",
                        "question": f"What is the first word of that account of {domain}?",
                        "answer": text.split()[0],
                    },
                )
                for text in texts[place * LIBRARY : (place + 1) * LIBRARY]
            ]
            for place, domain in enumerate(domains)
        }
        self._drawn = random.Random(1)  # noqa: S311

    def run(self, documents: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """All documents, and what it took."""
        started = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._document, documents))
        return {"seconds": round(time.monotonic() - started, 1), **self.counts}

    def _document(self, document: tuple[str, str]) -> None:
        values = {"document": document[1], "domains": self._domains}
        if self._ask(prompts.FILTER, values).get("suited") != "Y":
            return
        found = self._ask(prompts.IDENTIFY, values)
        library = self._library.get(str(found.get("domain")))
        if library is None:
            return
        for reader in str(found.get("readers") or "").split(",")[:3]:
            with self._lock:
                drawn = self._drawn.sample(library, EXAMPLES)
            about = {"examples": "\n".join(drawn), "reader": reader.strip()}
            pair = self._ask(prompts.GENERATE, about | values)
            if not pair.get("question") or not pair.get("answer"):
                continue
            written = {name: str(pair[name]) for name in ("question", "answer")}
            verdict = self._ask(prompts.CHECK, values | written)
            said = tuple(verdict.get(name) for name in ("has_context", "is_right", "given_away"))
            with self._lock:
                self.counts["pairs"] += 1
                self.counts["accepted"] += said == ("Y", "Y", "N")

    def _ask(self, prompt: str, values: dict[str, str]) -> dict[str, Any]:
        """One call; what its reply holds as JSON, or nothing."""
        try:
            reply = self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": "user", "content": filled(prompt, values)}],
                max_tokens=MAX_TOKENS,
                temperature=1.0,
            )
        except openai.OpenAIError:
            with self._lock:
                self.counts["failed"] += 1
            return {}
        usage = reply.usage
        details = usage.prompt_tokens_details if usage else None
        cached = (details.cached_tokens or 0) if details else 0
        found = _OBJECT.search(reply.choices[0].message.content or "")
        try:
            value = json.loads(found.group()) if found else None
        except ValueError:
            value = None
        with self._lock:
            self.counts["calls"] += 1
            self.counts["unreadable"] += value is None
            self.counts["prompt"] += usage.prompt_tokens if usage else 0
            self.counts["prefilled"] += usage.prompt_tokens - cached if usage else 0
            self.counts["written"] += usage.completion_tokens if usage else 0
        return value or {}


def ours(
    documents: Sequence[tuple[str, str]], options: dict[str, Any], demonstrations: int, gates: Sequence[str]
) -> dict[str, Any]:
    """The chain for a capable model over the same documents."""
    engine = {"engine": "openai", "options": options, "workers": 1, "in_flight": 2}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.jsonl"
        source.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in documents))
        values = configuration(engine, gates)
        values["generate"]["demonstrations"] = demonstrations
        values["sources"] = [{"name": "texts", "paths": [str(source)], "format": "json"}]
        values["warehouse"] = f"{folder}/wh"
        pipeline = Pipeline(config=values)
        pipeline.session()
        started = time.monotonic()
        result = pipeline.run()
        seconds = time.monotonic() - started
        paid = pipeline.sql(
            "SELECT count(*) AS calls, sum(prompt_tokens) AS prompt, "
            "sum(prompt_tokens - cached_tokens) AS prefilled, "
            "sum(completion_tokens) AS written FROM completions"
        ).collect()[0]
        pairs = pipeline.sql("SELECT count(*) AS pairs FROM pairs WHERE status = 'kept'").collect()[0][
            "pairs"
        ]
    return {"seconds": round(seconds, 1), **paid.asDict(), "pairs": pairs, "accepted": result.pairs}


def beside(
    documents: Sequence[tuple[str, str]],
    examples: Sequence[str],
    options: dict[str, Any],
    key: str,
    demonstrations: int,
    is_scripted: bool,
) -> dict[str, Any]:
    """Both ways, ours first, and what an accepted pair took: ours over published.

    Args:
        examples: other texts, which the published way shows.
        demonstrations: examples a domain that ours shows.
    """
    told = {
        "documents": len(documents),
        "ours": ours(documents, options, demonstrations, SCRIPTED_GATES if is_scripted else _GATES),
        "published": Published(options["base_url"], options["model"], key, examples).run(documents),
    }
    for name in ("prefilled", "seconds"):
        each = [
            told[way][name] / told[way]["accepted"] if told[way]["accepted"] else None
            for way in ("ours", "published")
        ]
        told[f"{name}_a_pair"] = {
            "ours": each[0],
            "published": each[1],
            "ours_over_published": round(each[0] / each[1], 3) if each[0] and each[1] else None,
        }
    return told
