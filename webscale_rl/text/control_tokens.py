"""Control tokens of chat templates in texts that are no template's: escaped in a prompt, restored in a reply.

A document that spells `<|im_end|>` could end its own message and speak as the system, so it is shown with
spaces: `< |im_end| >`. Which texts are tokens depends on the model's family: `<s>` begins a sequence for
Llama 2 and strikes a word through in HTML. What a model copies from a prompt is compared with the passage
as it is, so the spaces are taken out again.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

# <|im_start|>, <|eot_id|>, and DeepSeek's, which have bars of full width: no ordinary text has any of them.
_BARS = "[|\uff5c][^|\uff5c<>\\s]{1,40}[|\uff5c]"


@dataclass(frozen=True)
class Family:
    """The control tokens of models that share a chat template.

    Attributes:
        names: regular expression for the names of such models, in small letters.
        angled: regular expressions for what stands in angle brackets, beside tokens with bars.
        squared: the same for square brackets.
    """

    names: str
    angled: tuple[str, ...] = ()
    squared: tuple[str, ...] = ()


FAMILIES = {
    "chatml": Family(
        r"qwen|qwq|smol[-_ ]?lm|hermes|internlm|chatml", ("/?tool_call", "/?tool_response", "/?think")
    ),
    "deepseek": Family(r"deep[-_ ]?seek", ("/?think", "/?tool_call")),
    "gemma": Family(r"gemma", ("/?bos", "/?eos", "(?:start|end)_of_turn")),
    "llama2": Family(r"llama[-_ ]?2|codellama|vicuna", ("/?s", "</?SYS>"), ("/?INST",)),
    "llama3": Family(r"llama[-_ ]?[34]"),
    "mistral": Family(
        r"mistral|[mp]ixtral|ministral|magistral|codestral|devstral",
        ("/?s",),
        (
            "/?INST",
            "/?SYSTEM_PROMPT",
            "/?AVAILABLE_TOOLS",
            "/?TOOL_RESULTS",
            "/?TOOL_CONTENT",
            "/?TOOL_CALLS",
            "/?THINK",
            "ARGS",
            "CALL_ID",
        ),
    ),
    "phi": Family(r"\bphi[-_ ]?\d"),
}
# Anything that is written like one of them, in a passage that a model may have copied from.
_LIKE_A_TOKEN = re.compile(r"<</?SYS>>|<[^<>\s]{1,45}>|\[/?[A-Z_]{2,20}\]")


def families_of(model: str) -> tuple[str, ...]:
    """The families that a model's name speaks of; none where it tells nothing."""
    return tuple(name for name, family in FAMILIES.items() if re.search(family.names, model.lower()))


def pattern(families: Collection[str] = ()) -> str:
    """A regular expression, of Java and of Python, for the control tokens of families; none stands for all.

    What stands within the brackets is its first or second group: the replacement is `< $1$2 >`.
    """
    found = [FAMILIES[name] for name in families or FAMILIES]
    angled = dict.fromkeys([_BARS, *(part for family in found for part in family.angled)])
    squared = dict.fromkeys(part for family in found for part in family.squared)
    # A group that never matches, where no family has any.
    return f"<({'|'.join(angled)})>|\\[({'|'.join(squared) or '(?!)'})\\]"


def restore(text: str, passage: str) -> str:
    """A text that was copied from a passage as a prompt shows it, with the passage's own words.

    Only what the passage holds is restored: `< s >` becomes `<s>` where that stands in the passage, and
    `< s >` does not.
    """
    if "< " not in text and "[ " not in text:
        return text
    for token in sorted(set(_LIKE_A_TOKEN.findall(passage)), key=len, reverse=True):
        # As `pattern` has it replaced, and as an engine breaks the tokens of its own model.
        for shown in (f"< {token[1:-1]} >", f"{token[0]} {token[1:]}"):
            if shown in text and shown not in passage:
                text = text.replace(shown, token)
    return text
