"""Whose fault is it that a job failed: the request's, or the engine's?

A request may only be rejected for killing its engine while the engine answers others; else a broken
machine or a dead endpoint would reject everything. So the engine is asked something harmless.
"""

from __future__ import annotations

from webscale_rl.core.fingerprint import canonical_json, sha256_text
from webscale_rl.llm.placement import Placement
from webscale_rl.llm.requests import constants
from webscale_rl.spark.errors import SPARK_ERRORS, first_line

_SAMPLING = {
    "max_tokens": 4,
    "min_p": 0.0,
    "repeat_penalty": 1.0,
    "seed": 0,
    "stop": [],
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
}


def why_silent(placement: Placement) -> str | None:
    """Why the engine does not answer a greeting now; None when it does. One call, which is not kept."""
    fields = constants(placement.engine.identity, _SAMPLING, "chat")
    greeting = canonical_json(fields | {"messages": [{"content": "Hello", "role": "user"}]})
    request = placement.spark.createDataFrame(
        [(sha256_text(greeting), greeting)], "request_id string, request string"
    )
    try:
        replies = placement.call(request).collect()
    except SPARK_ERRORS as error:
        return first_line(error)
    faults = [reply["error"] for reply in replies if reply["fault"] not in (None, "permanent")]
    return str(faults[0]) if faults else None
