"""Training examples: a prompt as the model will see it, and the reply that it should give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from webscale_rl.errors import ConfigError


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        prompt: the whole prompt, rendered, up to where the reply begins.
        reply: the reply, without what ends it.
        document: of which document it was made; a document is never split between training and test.
        task: what is asked, for the figures.
        choices: the replies that are possible where it is a choice; empty where it is written freely.
    """

    prompt: str
    reply: str
    document: str = ""
    task: str = ""
    choices: tuple[str, ...] = ()


def read_jsonl(path: Path) -> Iterator[Example]:
    """Examples of a JSON-lines file: objects with prompt and reply, and optionally document, task, choices.

    Raises:
        ConfigError: a line is no example; the message has its number.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            example = Example(
                str(raw["prompt"]),
                str(raw["reply"]),
                str(raw.get("document") or hashlib.sha256(str(raw["prompt"]).encode()).hexdigest()),
                str(raw.get("task") or ""),
                tuple(str(choice) for choice in raw.get("choices") or ()),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{path}, line {number}: no example ({type(error).__name__} {error}); "
                'a line is {"prompt": "...", "reply": "..."}'
            ) from error
        if not example.prompt or not example.reply:
            raise ConfigError(f"{path}, line {number}: prompt and reply must not be empty")
        yield example


def write_jsonl(path: Path, examples: Iterable[Example]) -> None:
    """Examples as a JSON-lines file."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(asdict(example), ensure_ascii=False) + "\n")


def split(examples: Iterable[Example], held_out: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and held-out ones; all examples of a document are on one side.

    Args:
        held_out: share of the documents, 0 to 1.
    """
    train: list[Example] = []
    held: list[Example] = []
    for example in examples:
        digest = hashlib.sha256(f"{seed}/{example.document}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        (held if share < held_out else train).append(example)
    return train, held
