"""What an endpoint's refusal is about: this request, whatever is asked there, or nobody can tell yet.

Statuses that tell of the key, the account or the address are the engine's fault. What else is refused is told
by its body. A body that speaks of the account may only repeat the prompt, and many say nothing that is known:
such a refusal is held until a request that was sent later is answered, which shows that the endpoint answers,
or until a greeting tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from udfs.engines.base import Completion, Fault, Message, Request

# So many refusals alike, with nothing answered in between, are no fault of the requests.
MANY_ALIKE = 20

_OF_THE_ENGINE = {
    401: "refused_key",
    402: "refused_account",
    404: "not_found",
    405: "not_found",
    410: "not_found",
    412: "refused_account",
    423: "refused_account",
}
_ABOUT_FORMAT = re.compile(r"response.format|json.schema|json.object|schema|grammar|structured|guided", re.I)
_ABOUT_LENGTH = re.compile(
    r"context.{0,20}(length|window|size)|maximum.{0,20}tokens|too (long|large)|too many tokens", re.I
)
_MODERATED = re.compile(
    r"moderat|flagged|content (policy|management)|safety (system|policy|filter|check)|usage polic|jailbreak"
    r"|(sensitive|inappropriate|prohibited|harmful|unsafe|disallowed) (content|words?|text)",
    re.I,
)
_ABOUT_KEY = re.compile(
    r"\b(api|access|subscription|secret) ?(key|token)|(un|not )authori[sz]ed|unauthenticated|authenticat"
    r"|permission|access (is )?(denied|terminated)",
    re.I,
)
_UNPAID = re.compile(
    r"insufficient (balance|credit|fund|quota)|arrears|overdue|unpaid|billing hard limit"
    r"|\b(account|organi[sz]ation|project|workspace|subscription)\b.{0,60}\b(suspended|disabled|deactivated"
    r"|inactive|blocked|banned|terminated|expired|restricted|locked|not active)",
    re.I,
)
_ABOUT_ACCOUNT = re.compile(
    r"billing|payment|credit balance|(out of|no more|more) credits|balance is|top up|spending limit"
    r"|budget.{0,20}exceeded|exceeded.{0,20}(quota|budget)",
    re.I,
)
_ABOUT_MODEL = re.compile(
    r"\bmodels?\b.{0,80}(not (found|exist|served|available|loaded|deployed|enabled|supported)|unavailable"
    r"|deprecated|decommissioned|retired|no longer)|(unknown|invalid|no such|unsupported) model"
    r"|no (endpoints?|deployments?) found",
    re.I,
)


@dataclass(frozen=True)
class Judgement:
    """What a refusal is about.

    Attributes:
        about: request, engine, or unknown.
        name: short name of the fault as the request's own, or as the engine's where that is to blame.
        suspect: short name of the fault as the engine's, where the body hints at it and is not to be trusted.
    """

    about: Literal["request", "engine", "unknown"]
    name: str
    suspect: str | None = None


def judge(status: int, code: str, said: str) -> Judgement:
    """Judge a refusal (a status of 400 and more that no other try would change).

    Args:
        code: what the body has as code or type, empty where it has none.
        said: the body's message.
    """
    if status in _OF_THE_ENGINE:
        return Judgement("engine", _OF_THE_ENGINE[status])
    text = f"{code} {said}".replace("_", " ")
    name = _name(status, code, text)
    suspect = _suspect(text)
    if suspect is None and status == 403 and name == "refused_request":
        suspect = "refused_key"
    if suspect is not None:
        return Judgement("unknown", name, suspect)
    return Judgement("unknown" if name == "refused_request" else "request", name)


def is_unpaid(code: str, said: str) -> bool:
    """Whether a 429 is no matter of pace: the account has nothing left."""
    return code == "insufficient_quota" or bool(_UNPAID.search(said.replace("_", " ")))


def about_format(said: str) -> bool:
    """Whether a refusal is about the way in which JSON was asked for."""
    return bool(_ABOUT_FORMAT.search(said))


def about_length(status: int, code: str, said: str) -> bool:
    """Whether a refusal is about the length of the prompt."""
    return status == 413 or code == "context_length_exceeded" or bool(_ABOUT_LENGTH.search(said))


def _name(status: int, code: str, text: str) -> str:
    if about_length(status, code, text):
        return "prompt_too_long"
    if "content filter" in text:
        return "content_filter"
    if _MODERATED.search(text):
        return "moderated"
    return "refused_schema" if status != 403 and about_format(text) else "refused_request"


def _suspect(text: str) -> str | None:
    if _UNPAID.search(text) or _ABOUT_ACCOUNT.search(text):
        return "refused_account"
    if _ABOUT_KEY.search(text):
        return "refused_key"
    return "not_found" if _ABOUT_MODEL.search(text) else None


@dataclass(frozen=True)
class Refused:
    """A refused request, while nobody knows whose fault it is.

    Attributes:
        said: the status and what the server said.
        at: when it was refused (`time.perf_counter`).
        seconds: how long the request took.
    """

    request: Request
    judgement: Judgement
    said: str
    at: float
    seconds: float

    def completion(self, fault: Fault, name: str) -> Completion:
        """Its row."""
        return Completion.failed(self.request.request_id, fault, f"{name}: {self.said}", self.seconds)


class Held:
    """Refusals that nobody can tell about yet."""

    def __init__(self) -> None:
        self._held: list[Refused] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    @property
    def last(self) -> Refused:
        return self._held[-1]

    def add(self, refused: Refused) -> int:
        """Hold a refusal; how many held ones are like it."""
        self._held.append(refused)
        return sum(_gist(one.said) == _gist(refused.said) for one in self._held)

    def answered(self, sent: float = float("inf")) -> list[Completion]:
        """A request that was sent then was answered: what was refused before is those requests' own fault."""
        return self._let_go(
            lambda one: one.at <= sent, lambda one: one.completion("permanent", one.judgement.name)
        )

    def given_back(self, fault: Fault, name: str | None = None) -> list[Completion]:
        """All of them, with a fault that leaves their rows pending.

        Args:
            name: short name of the fault; None: as each was judged.
        """
        return self._let_go(lambda one: True, lambda one: one.completion(fault, name or one.judgement.name))

    def _let_go(
        self, which: Callable[[Refused], bool], into: Callable[[Refused], Completion]
    ) -> list[Completion]:
        going = [one for one in self._held if which(one)]
        self._held = [one for one in self._held if not which(one)]
        return [into(one) for one in going]


def greeting(request: Request) -> Request:
    """A harmless request that is asked in the same way: what refuses it, refuses everything."""
    return replace(
        request,
        messages=(Message("user", "Hello"),),
        sampling=replace(request.sampling, max_tokens=min(16, request.sampling.max_tokens)),
        response_schema=None,
        choices=None,
    )


def _gist(said: str) -> str:
    """What was said, without what differs from request to request: numbers, identifiers, quotations."""
    return re.sub(r"""['"`][^'"`]*+['"`]|(?<!\S)[^\s\d]*+\d\S*+""", "", said.lower()[:2000])[:120]
