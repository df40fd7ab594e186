"""The topic request: one prefill in which a very small model says what a passage is about.

The model is not asked to write: it scores words that stand for each domain, and words that stand for
junk, as the continuation of the passage's beginning. `screen` reads the junk words' part of the reply,
`identify` the domains' part; both build the same request, so it is paid for once.
"""

from __future__ import annotations

import re
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from webscale_rl.llm.prompts import Domain
from webscale_rl.llm.requests import request
from webscale_rl.text.sentences import STOP

#: The label of what is not worth asking about.
NOTHING = "nothing"
_SENTENCES = rf"^(.*(?:{STOP}))"


def domain_label(domain: Domain) -> str:
    """The one word that a tuned model names a domain by: the first of its words."""
    return domain.words[0]


def beginning(text: str, max_chars: int = 600) -> str:
    """A passage's beginning as the request shows it, for training (`topic_request` does it in SQL)."""
    plain = re.sub(r"\s+", " ", text)
    if len(plain) <= max_chars:
        return plain
    start = plain[:max_chars]
    sentence = re.match(_SENTENCES, start)
    return sentence[1] if sentence else re.sub(r" \S*$", "", start)


def topic_words(body: dict[str, Any]) -> list[str]:
    """The choices of the request, each once.

    The domains' labels and "nothing" (method label), or the domains' words in order and the junk words.
    """
    if body["method"] == "label":
        return [f" {domain['words'][0]}" for domain in body["domains"]] + [f" {NOTHING}"]
    words = [word for domain in body["domains"] for word in domain["words"]]
    return [f" {word}" for word in dict.fromkeys([*words, *body["junk_words"]])]


def topic_request(body: dict[str, Any]) -> Column:
    """The request of a row with `title` and `text`.

    Args:
        body: engine, prompt, sampling, domains (id, words), junk_words, max_chars.
    """
    plain = F.regexp_replace("text", r"\s+", " ")
    start = F.substring(plain, 1, body["max_chars"])
    # Cut at a sentence's end, else at a space: half a sentence misleads so small a model.
    sentence = F.regexp_extract(start, _SENTENCES, 1)
    cut = F.when(sentence != "", sentence).otherwise(F.regexp_replace(start, r" \S*$", ""))
    whole = F.when(F.length(plain) > body["max_chars"], cut).otherwise(plain)
    return request(body, {"title": F.col("title"), "passage": whole}, choices=topic_words(body))


def _words(body: dict[str, Any], domain: dict[str, Any]) -> list[str]:
    return list(domain["words"])[: 1 if body["method"] == "label" else None]


def share_of_nothing(body: dict[str, Any]) -> Column:
    """The probability of "nothing" among the labels, from the column `completion` (method label)."""
    scores = [F.get("completion.choice_logprobs", place) for place in range(len(topic_words(body)))]
    total = F.exp(scores[0])
    for score in scores[1:]:
        total = total + F.exp(score)
    return F.exp(scores[-1]) / total


def mean_of_words(body: dict[str, Any], words: list[str]) -> Column:
    """The mean log-probability of some of the words, from the column `completion`."""
    order = {word: index for index, word in enumerate(topic_words(body))}
    scores = F.col("completion.choice_logprobs")
    found = [F.get(scores, order[f" {word}"]) for word in words]
    total = found[0]
    for column in found[1:]:
        total = total + column
    return total / F.lit(float(len(found)))


def domain_scores(body: dict[str, Any]) -> Column:
    """map<string, double>: per domain identifier, the mean log-probability of its words."""
    pairs = [
        piece
        for domain in body["domains"]
        for piece in (F.lit(domain["id"]), mean_of_words(body, _words(body, domain)))
    ]
    return F.create_map(*pairs)
