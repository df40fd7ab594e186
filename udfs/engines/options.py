"""The options of engines, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from udfs.engines.errors import OptionsError
from webscale_rl.core.suggest import nearest


def option(
    options: Mapping[str, Any],
    name: str,
    default: Any,
    kind: type,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """One checked option; None and a missing key give the default.

    Raises:
        OptionsError: wrong type or out of range.
    """
    value = options.get(name)
    if value is None:
        return default
    wrong_type = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong_type or (low is not None and value < low) or (high is not None and value > high):
        limits = f"{'' if low is None else f' >= {low}'}{'' if high is None else f' <= {high}'}"
        raise OptionsError(f"engine option {name} is {value!r}: must be {kind.__name__}{limits}")
    return value


def refuse_unknown(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Name the first unknown option, with the nearest known one.

    Raises:
        OptionsError: there is an unknown option.
    """
    names = sorted(known)
    for name in sorted(set(options) - set(names)):
        hint = nearest(name, names) or f": known: {', '.join(names)}"
        raise OptionsError(f"unknown engine option {name!r}{hint}")
