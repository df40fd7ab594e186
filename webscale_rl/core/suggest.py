"""The one "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[object]) -> str:
    """`` (did you mean 'x'?)`` for the known name that is most like this one; empty where none is."""
    near = difflib.get_close_matches(name, sorted(map(str, known)), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
