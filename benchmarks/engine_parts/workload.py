"""Requests of the generate stage for a capable model: real prompts over real text, written to a file.

Domains and personas are dealt out by number, since no model is asked for them here: what is measured is how
prompts are read, not how good they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webscale_rl.core.files import conf_folder, find_file
from webscale_rl.core.fingerprint import canonical_json, sha256_text
from webscale_rl.llm.prompts import load_demonstrations, load_domains, load_prompt
from webscale_rl.stages.generate.stage import render_demonstrations

# Tokens of a reply to this prompt are spread about so: most near a hundred, some three times as long.
_MEDIAN_TOKENS, _SPREAD, _LONGEST = 90, 0.5, 300


def requests(
    texts: Iterable[tuple[str, str]],
    count: int,
    demonstrations: int,
    characters: int,
    seed: int,
    longest: int | None = None,
    with_instructions: bool = True,
) -> list[dict[str, str]]:
    """Requests for the first texts, three personas each.

    Args:
        texts: key and text.
        count: texts to take.
        demonstrations: examples a domain.
        characters: longest passage.
        longest: most tokens of a reply.
        with_instructions: whether the system message comes first; without it prompts are short.
    """
    prompt = load_prompt(find_file("generate_question_first", "prompts", ".yml"))
    domains = load_domains(find_file("domains.yml", "", ".yml"))
    shown = load_demonstrations(conf_folder() / "demonstrations", [domain.id for domain in domains])
    drawn = random.Random(seed)  # noqa: S311
    made = []
    for number, (key, text) in zip(range(count), texts, strict=False):
        domain = domains[number % len(domains)]
        for persona in domain.personas[:3]:
            values = {
                "domain": domain.name,
                "demonstrations": render_demonstrations(shown[domain.id][:demonstrations]),
                "title": "",
                "passage": text[:characters],
                "persona": persona.name,
                "interest": persona.interest,
            }
            length = int(_MEDIAN_TOKENS * drawn.lognormvariate(0, _SPREAD))
            body: dict[str, Any] = {
                "adapter": None,
                "choices": None,
                "messages": [
                    {"role": role, "content": filled(part, values)}
                    for role, part in (("system", prompt.system), ("user", prompt.user))
                    if with_instructions or role == "user"
                ],
                "prompt_format": "chat",
                "response_schema": None,
                "sample": 0,
                "sampling": {"max_tokens": min(max(length, 20), longest or _LONGEST), "temperature": 0.0},
            }
            text_form = canonical_json(body)
            made.append(
                {
                    "request_id": sha256_text(text_form),
                    "request": text_form,
                    "prefix": f"{domain.id}/{key}",
                }
            )
    return made


def filled(template: str, values: dict[str, str]) -> str:
    """A template with its placeholders filled."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", value)
    return template


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
