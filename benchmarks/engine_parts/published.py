"""The way of the published code, written anew, beside ours: the same documents, one endpoint, one model.

Filter, identify, generate and check are a call each for every row, made by ten threads in the order of the
rows; JSON is asked for in words and looked for in the reply; nothing is kept. Its instructions are as long as
ours, since they are ours, for one step each, and demonstrations are drawn anew for every call (paper, section
3: few-shot examples are sampled from the domain's library); accepted is what its own check accepts.
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

from benchmarks.engine_parts.around import SCRIPTED_GATES, configuration
from benchmarks.engine_parts.workload import filled
from webscale_rl import Pipeline
from webscale_rl.config import conf_folder, find_file
from webscale_rl.llm.catalogue import load_demonstrations, load_domains, load_prompt, render_demonstrations

THREADS = 10
# The README's, for a larger model.
_GATES = [
    *("lengths", "answer_leak", "passage_reference", "dangling_reference", "quotation", "answer_type"),
    *("question_word", "repetition", "copied_sentence", "duplicate_question", "round_trip", "judge"),
]
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
FILTER = 'Decide only whether the document is worth asking about: {"keep": true} or {"keep": false}.'
IDENTIFY = (
    'Say only the domain and the readers: {"domain": ..., "personas": [{"name": ..., "interest": ...}, ...]}.'
)
CHECK = 'Say only whether the pair is good in every respect: {"good": true} or {"good": false}.'


class Published:
    """Ten threads around one endpoint."""

    def __init__(self, base_url: str, model: str, key: str, demonstrations: int) -> None:
        self._client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=5)
        self._model = model
        self._lock = threading.Lock()
        names = ("calls", "unreadable", "prompt", "prefilled", "written", "pairs", "accepted")
        self.counts = dict.fromkeys(names, 0)
        self._prompts = {
            name: load_prompt(find_file(name, "prompts", ".yml"))
            for name in ("screen_identify", "generate_question_first", "judge")
        }
        self._domains = load_domains(find_file("domains.yml", "", ".yml"))
        self._shown = load_demonstrations(
            conf_folder() / "demonstrations", [domain.id for domain in self._domains]
        )
        self._demonstrations = demonstrations
        self._drawn = random.Random(1)  # noqa: S311
        self._texts = "\n".join(f"- {domain.id}: {domain.definition}" for domain in self._domains)

    def run(self, documents: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """All documents, and what it took."""
        started = time.monotonic()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._document, documents))
        return {"seconds": round(time.monotonic() - started, 1), **self.counts}

    def _document(self, document: tuple[str, str]) -> None:
        values = {"title": "", "passage": document[1], "domains_text": self._texts}
        kept = self._ask("screen_identify", values, FILTER)
        if not isinstance(kept, dict) or kept.get("keep") is not True:
            return
        found = self._ask("screen_identify", values, IDENTIFY)
        personas = found.get("personas") if isinstance(found, dict) else None
        if not isinstance(personas, list):
            return
        known = {domain.id: domain.name for domain in self._domains}
        domain = found["domain"] if found.get("domain") in known else "other"
        for persona in [one for one in personas if isinstance(one, dict)][:3]:
            with self._lock:
                drawn = self._drawn.sample(self._shown[domain], self._demonstrations)
            about = {
                "domain": known[domain],
                "demonstrations": render_demonstrations(drawn),
                "persona": str(persona.get("name")),
                "interest": str(persona.get("interest")),
            }
            pair = self._ask("generate_question_first", values | about)
            if not isinstance(pair, dict) or not pair.get("question") or not pair.get("answer"):
                continue
            written = {name: str(pair.get(name) or "") for name in ("question", "answer", "quotation")}
            verdict = self._ask("judge", values | written, CHECK)
            with self._lock:
                self.counts["pairs"] += 1
                self.counts["accepted"] += isinstance(verdict, dict) and verdict.get("good") is True

    def _ask(self, name: str, values: dict[str, str], ending: str = "") -> Any:
        """One call; what its reply holds as JSON, or None."""
        prompt = self._prompts[name]
        reply = self._client.chat.completions.create(
            model=self._model,
            messages=[
                {"role": "system", "content": filled(prompt.system, values)},
                {"role": "user", "content": f"{filled(prompt.user, values)}\n{ending}"},
            ],
            max_tokens=prompt.max_tokens,
            temperature=0.0,
        )
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
        return value


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
    options: dict[str, Any],
    key: str,
    demonstrations: int,
    is_scripted: bool,
) -> dict[str, Any]:
    """Both ways, ours first, and what an accepted pair took: ours over published."""
    told = {
        "documents": len(documents),
        "ours": ours(documents, options, demonstrations, SCRIPTED_GATES if is_scripted else _GATES),
        "published": Published(options["base_url"], options["model"], key, demonstrations).run(documents),
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
