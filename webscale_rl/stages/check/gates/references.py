"""References that a question cannot carry alone: to its source text, or to something not named."""

from __future__ import annotations

import re
from functools import lru_cache

from webscale_rl.stages.check.gates.questions import Question, read_question
from webscale_rl.text.normalise import content_words, fold, stem, words
from webscale_rl.text.sentences import sentences_of_lines
from webscale_rl.text.wordlists import (
    AUXILIARIES,
    PERSON_PRONOUNS,
    POSSESSIVES,
    PREPOSITIONS,
    STOP_WORDS,
    SUBORDINATORS,
)

_POINTING = re.compile(
    r"\b(?:mentioned|described|discussed|stated|listed|given|shown|presented|provided|quoted|noted|"
    r"cited|explained|defined|outlined) (?:above|below|here|earlier|previously)\b"
    r"|\b(?:above|afore|previously)[ -]?mentioned\b|\bthe (?:above|aforementioned)\b"
    r"|\b(?:is|are|was|were) (?:mentioned|listed|discussed)\s*\?"
    r"|\bdoes (?:it|this) (?:say|mention|state)\b"
)
_ACCORDING = re.compile(r"\b[Aa]ccording to (?:the|this|these|that|those|what) (?P<next>\w+)(?P<rest>[^,?]*)")
_MAX_BEHIND_NOUN = 2
_COPULAS = frozenset({"is", "are", "was", "were"})


def refers_to_text(question: str, passage: str, nouns: tuple[str, ...]) -> bool:
    """Whether a question speaks of the text it was made from ("according to the passage").

    Args:
        question: the question.
        passage: its passage; a compound that stands there ("text message") is no reference.
        nouns: what stands for the text or its writer ("passage", "author").
    """
    folded = fold(question)
    # "Which of the following" belongs to a multiple choice.
    if _POINTING.search(folded.replace("of the following", "")):
        return True
    according = _ACCORDING.search(question)
    if (
        according
        and according["next"].islower()
        and not re.search(r" (?:of|on|by) |[A-Z]", according["rest"])
    ):
        return True
    for match in _noun_pattern(nouns).finditer(question):
        behind = match["behind"]
        # "the text of the Rosetta Stone", "the author Jane Austen" name what they mean.
        if re.match(r"\s+(?:of|for|on|by)\s", behind) or re.match(r"\s+[A-Z][a-z]", behind):
            continue
        if match["det"].lower() == "the" and _is_compound(match["noun"], behind, passage):
            continue
        return True
    return False


@lru_cache(maxsize=16)
def _noun_pattern(nouns: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(noun) for noun in sorted(nouns, key=len, reverse=True)) or r"(?!)"
    return re.compile(
        r"\b(?P<det>the|this|that|these|those|our|your) (?:(?:given|above|provided|following|"
        r"present|whole|entire|short|first|second|last|next|same) )?"
        rf"(?P<noun>{either})(?:'s|’s|s)?\b"
        r"(?=(?P<behind>.{0,40}))",
        re.I | re.S,
    )


def _is_compound(noun: str, behind: str, passage: str) -> bool:
    following = re.match(r"\s+([a-z]+)", behind)
    if not following or following[1] in STOP_WORDS:
        return False
    return f"{noun} {following[1]}".lower() in passage.lower()


def dangles(question: str, context: str, bare_nouns: tuple[str, ...]) -> bool:
    """Whether a question is about something that it does not name.

    Args:
        question: the question.
        context: title and passage. They tell whether "the tunnel" is a kind of thing (its first
            mention is "the tunnel") or one that was introduced ("a tunnel", "the Gotthard Tunnel").
        bare_nouns: nouns that never stand alone ("study", "company").
    """
    read = read_question(question)
    if not read.lower:
        return False
    return (
        _has_deictic(read)
        or _has_loose_pronoun(read)
        or _has_loose_there(read)
        or _has_bare_noun(read, context, bare_nouns)
    )


_DEICTIC = re.compile(
    r"\b(?:this|these)\b"
    r"|\bthose (?!who|whose|with|that|of|in|which|without|from)"
    r"|\bthat (?:year|time|day|period|month|point|place|moment|same|case|country|city|event|"
    r"study|person|man|woman|company|process|method)\b"
    r"|\b(?:cause[sd]?|call(?:ed)?|do|did|does|of|about|like|after|before|for|to) that \?"
    r"|\bthe (?:former|latter|others|other (?:one|two|three))(?= |$)"
    r"|\bthe same (?:year|time|day|month|place|period|event)\b(?! as\b)"
    r"|\b(?:me|my)\b"
    r"|\b(?:did|have|were|had) we\b|\bour (?:study|results?|method|experiments?|work|paper|data|"
    r"model|approach|findings|sample|team|company)\b"
)


def _has_deictic(read: Question) -> bool:
    # Upper-case tokens are acronyms; "I" is a pronoun only beside an auxiliary ("What did I see?"),
    # else a variable or a number ("the area A with i points", "World War I").
    plain = " ".join(
        "#" if token.isupper() and len(token) > 1 and place else folded
        for place, (token, folded) in enumerate(zip(read.tokens, read.lower, strict=True))
    )
    if _DEICTIC.search(plain):
        return True
    return any(
        word == "I" and place and read.lower[place - 1] in AUXILIARIES - {"is", "was"}
        for place, word in enumerate(read.tokens)
    )


_EXPLETIVE_VERBS = frozenset(
    {"take", "takes", "took", "taken", "cost", "costs", "possible", "impossible", "necessary",
     "important", "true", "safe", "dangerous", "difficult", "hard", "hardest", "easy", "easier",
     "harder", "best", "better", "likely", "illegal", "legal", "called", "mean", "means", "rain",
     "rains", "useful", "common", "wise", "advisable", "helpful"}
)  # fmt: skip


def _has_loose_pronoun(read: Question) -> bool:
    for place, word in enumerate(read.lower):
        token = read.tokens[place]
        if word not in PERSON_PRONOUNS or (token.isupper() and len(token) > 1):
            continue
        if word == "it" and _is_expletive(read, place):
            continue
        return not _has_antecedent(read, place)
    return False


def _is_expletive(read: Question, place: int) -> bool:
    """ "How long does it take to ...", "Is it true that ...": this "it" stands for nothing."""
    behind = read.lower[place + 1 : place + 5]
    for offset, word in enumerate(behind):
        if word in _EXPLETIVE_VERBS:
            rest = read.lower[place + 1 + offset + 1 :]
            return any(w in ("to", "that", "when", "for", "if") for w in rest)
    return False


def _has_antecedent(read: Question, place: int) -> bool:
    before = read.lower[:place]
    if not before:
        return False
    if any(i < place for i in read.name_places):
        return True
    pronoun = read.lower[place]
    auxiliary = next((i for i, w in enumerate(before) if w in AUXILIARIES), None)
    clause = before if auxiliary is None else before[auxiliary + 1 :]
    if pronoun in POSSESSIVES:
        inverted = auxiliary is not None and before[auxiliary] in ("do", "does", "did")
        asked_for = read.head or (read.word == "who" and not _COPULAS & set(before[-1:]))
        if not inverted and asked_for:
            return True  # the subject is what is asked for: "Which river has lost its source?"
        return _contentful(clause) > 0
    border = next((i for i in range(len(clause) - 1, -1, -1) if clause[i] in SUBORDINATORS), None)
    if border is None or (border == len(clause) - 1 and clause[border] in _OBJECT_PREPOSITIONS):
        return False
    return _contentful(clause[:border]) >= (2 if read.word == "who" else 1)


_OBJECT_PREPOSITIONS = PREPOSITIONS - {"after", "before", "since", "until"} | {"to", "for", "by"}


def _contentful(found: tuple[str, ...]) -> int:
    return sum(word not in STOP_WORDS and word[:1].isalpha() for word in found)


def _has_loose_there(read: Question) -> bool:
    for place, word in enumerate(read.lower):
        if word != "there":
            continue
        around = set(read.lower[max(0, place - 1) : place + 2])
        exists = around & {"is", "are", "was", "were", "be", "been", "exist", "exists", "existed"}
        if not exists and not any(i < place for i in read.name_places):
            return True
    return False


_ORDINARY_MODIFIERS = frozenset(
    {"first", "second", "third", "last", "final", "new", "old", "original", "whole", "entire",
     "main", "same", "two", "three", "four", "five", "latest", "next", "other"}
)  # fmt: skip
_EXPLAINING = frozenset(
    {"of", "that", "who", "which", "for", "between", "whose", "where", "called", "with", "to"}
)


def _has_bare_noun(read: Question, context: str, bare_nouns: tuple[str, ...]) -> bool:
    if read.names:
        return False
    bare_stems = {stem(fold(noun)) for noun in bare_nouns}
    lower = read.lower
    for place, word in enumerate(lower[:-1]):
        if word != "the":
            continue
        at = place + 1
        while at + 1 < len(lower) and lower[at] in _ORDINARY_MODIFIERS:
            at += 1
        noun = lower[at].removesuffix("'s")
        if noun in STOP_WORDS or not noun[:1].isalpha():
            continue
        following = lower[at + 1] if at + 1 < len(lower) else ""
        if _is_explained(lower, at) or not _is_subject(read, place):
            continue
        if _stands_together(noun, following, context):
            continue
        if stem(noun) in bare_stems:
            return True
        # Enough other words can say which one is meant ("the computer" that proved a theorem).
        said = sum(w not in STOP_WORDS and w[:1].isalpha() for w in lower[at + 1 :])
        if said <= _MAX_BEHIND_NOUN and _was_introduced(noun, context):
            return True
    return False


def _is_explained(lower: tuple[str, ...], at: int) -> bool:
    """Whether "of ...", "which ..." or the like behind the noun says which one is meant."""
    following = lower[at + 1] if at + 1 < len(lower) else ""
    if following in _EXPLAINING or "which" in lower[at + 1 : at + 3]:
        return True
    if not any(word in _COPULAS for word in lower[:at]):
        return False  # behind do and have the next word may be the verb
    rest = lower[at + 1 :]
    end = next((i for i, w in enumerate(rest) if w in STOP_WORDS or not w[:1].isalpha()), len(rest))
    return 0 < end < len(rest) and rest[end] in _EXPLAINING


def _is_subject(read: Question, place: int) -> bool:
    """Whether the noun phrase there is what the question is about, and not an addition to it.

    It is, where nothing with content stands before it but the question word's own noun and verbs.
    """
    before = read.lower[:place]
    auxiliary = next((i for i, w in enumerate(before) if w in AUXILIARIES), None)
    if auxiliary is not None:
        between = before[auxiliary + 1 :]
        return _contentful(between) == 0 and not PREPOSITIONS & set(between)
    return read.word in ("who", "what", "which") and _contentful(before) <= 2


def _stands_together(noun: str, following: str, context: str) -> bool:
    """Whether the passage has both words side by side: then the first one is no bare noun."""
    if not following or following in STOP_WORDS or not following[:1].isalpha():
        return False
    return re.search(rf"\b{re.escape(noun)}[ -]{re.escape(following)}\b", fold(context)) is not None


def _was_introduced(noun: str, context: str) -> bool:
    """Whether the context introduces the noun as one of its kind, or does not know it at all.

    "a tunnel" inside a sentence, "its tunnel" and "the Gotthard Tunnel" introduce one; "A magic
    square has ..." at the beginning defines a kind, and "the heart" was known before.
    """
    wanted = stem(noun)
    for number, sentence in enumerate(sentences_of_lines(context)):
        tokens = re.findall(r"[^\W_][\w'’-]*", sentence)
        for place, token in enumerate(tokens):
            if stem(fold(token).removesuffix("'s")) != wanted:
                continue
            if place and token[:1].isupper() and tokens[place - 1][:1].isupper():
                return place > 1 or tokens[place - 1].lower() not in ("the", "a", "an")
            lead = [fold(t) for t in tokens[max(0, place - 3) : place]]
            for distance, word in enumerate(reversed(lead), start=1):
                if word in ("a", "an", "its", "his", "her", "their", "one"):
                    return place - distance > 0
                if word in STOP_WORDS or word in PREPOSITIONS:
                    break
            # "The line ..." in a later sentence takes up what the first ones spoke of.
            return number > 1 and place == 1 and lead == ["the"]
    return not any(wanted in content_words(word) for word in words(context))
