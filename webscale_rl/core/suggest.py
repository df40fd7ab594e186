"""What somebody may have meant by a name that is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[object]) -> str:
    """The nearest known name as an error ends with it, " (did you mean 'x'?)"; empty where none is near."""
    near = difflib.get_close_matches(name, [str(one) for one in known], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
