"""The options of engines: each engine's are one model, and whatever is wrong with them is one line."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from udfs.engines.errors import OptionsError
from webscale_rl.core.suggest import nearest

_NAMES: dict[type, str] = {str: "text", float: "a number", dict: "a mapping", bool: "true or false"}


class EngineOptions(BaseModel):
    """Base of an engine's options: an unknown one is an error, null means the default, nothing is converted.

    A field's description says what it is: the error for a missing one ends with it. A validator raises a
    ValueError whose message goes on from the option's name ("must be an address").
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), hide_input_in_errors=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        return {
            name: value for name, value in given.items() if value is not None or name not in cls.model_fields
        }

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Self:
        """The options, checked and with their defaults.

        Raises:
            OptionsError: one line with everything that is wrong.
        """
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            # Without its cause, which repeats what may be a secret.
            raise _options_error(cls, error) from None


def refuse_unknown(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse options that an engine does not have.

    Raises:
        OptionsError: one line that names each, with the nearest known one.
    """
    names = sorted(known)
    if unknown := sorted(set(options) - set(names)):
        raise OptionsError("; ".join(_unknown(name, names) for name in unknown))


def _options_error(model: type[EngineOptions], error: ValidationError) -> OptionsError:
    faults = error.errors(include_url=False)
    # What is unknown first: it explains what is missing.
    faults.sort(key=lambda fault: fault["type"] != "extra_forbidden")
    return OptionsError("; ".join(_said(model, dict(fault)) for fault in faults))


def _said(model: type[EngineOptions], fault: dict[str, Any]) -> str:
    kind, where = fault["type"], fault["loc"]
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not where:
        return message
    name = str(where[0])
    if kind == "extra_forbidden":
        return _unknown(name, sorted(model.model_fields))
    field = model.model_fields[name]
    if kind in ("missing", "string_too_short"):
        return f"engine option {name} is missing: {field.description}"
    if kind == "value_error":
        return f"engine option {name} {message}"
    verb = "is" if len(where) == 1 else "names"
    return f"engine option {name} {verb} {fault['input']!r}: must be {_wanted(field, whole=len(where) == 1)}"


def _unknown(name: str, known: list[str]) -> str:
    return f"unknown engine option {name!r}{nearest(name, known) or ': known: ' + ', '.join(known)}"


def _wanted(field: FieldInfo, whole: bool) -> str:
    """What a field takes, in words; not as a whole: what one of its entries may be."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    is_list = get_origin(kind) in (list, tuple)
    if is_list:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        values = f"of {', '.join(map(str, get_args(kind)))}"
        return f"a list {values}" if is_list and whole else values
    kind = get_origin(kind) or kind
    name = _NAMES.get(kind, str(getattr(kind, "__name__", kind)))
    limits = [
        f"{sign} {getattr(limit, bound)}"
        for limit in field.metadata
        for bound, sign in (("ge", ">="), ("le", "<="), ("gt", ">"), ("lt", "<"))
        if hasattr(limit, bound)
    ]
    return f"{name} {' and '.join(limits)}".strip()
