"""Turn pretraining documents into verifiable question-answer pairs for reinforcement learning."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webscale_rl.run.pipeline import Pipeline
    from webscale_rl.runtime.result import RunResult
    from webscale_rl.stages.deduplicate.copies import find_duplicates

__version__ = "0.1.0"
__all__ = ["Pipeline", "RunResult", "__version__", "find_duplicates"]

_FROM = {
    "Pipeline": "webscale_rl.run.pipeline",
    "RunResult": "webscale_rl.runtime.result",
    "find_duplicates": "webscale_rl.stages.deduplicate.copies",
}

# What is logged goes nowhere until the program that uses this package says where (docs/operations.md).
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # Python workers import subpackages of this one: they need no Spark driver code.
    if name in _FROM:
        from webscale_rl.extras import require_spark

        require_spark()
        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
