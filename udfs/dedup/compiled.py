"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(function: Callable) -> Any:
    """Compile at the first call, and keep the machine code on disk where there is a place for it."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Imported from a zip file (spark-submit --py-files): each worker compiles for itself.
        return njit(nogil=True)(function)
