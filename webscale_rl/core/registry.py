"""Named objects of one kind that others may add to: stages, gates, answer types, exporters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from webscale_rl.core.suggest import nearest
from webscale_rl.errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """What configurations, tables and reports call it."""
        ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Objects by name, in the order in which they were added.

    Args:
        what: what an object of it is called in messages.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._found: dict[str, T] = {}

    def register(self, thing: T) -> T:
        """Add an object. The same one again changes nothing.

        Raises:
            ConfigError: the name is taken by another one, or is no identifier in lower case.
        """
        if not _NAME.match(thing.name):
            raise ConfigError(f"{self.what} {thing.name!r}: a name has lower-case letters, digits and _ only")
        if self._found.setdefault(thing.name, thing) is not thing:
            raise ConfigError(f"there is a {self.what} {thing.name!r} already: give yours another name")
        return thing

    def replace(self, thing: T) -> None:
        """Have an object under its name, whatever stood there; its place in the order stays."""
        self._found[thing.name] = thing

    @contextmanager
    def added(self, *things: T) -> Iterator[None]:
        """Have objects for a while: for a notebook or a test."""
        fresh = [thing for thing in things if self._found.get(thing.name) is not thing]
        try:
            for thing in fresh:
                self.register(thing)
            yield
        finally:
            for thing in fresh:
                if self._found.get(thing.name) is thing:
                    del self._found[thing.name]

    def get(self, name: str) -> T:
        """The object of that name.

        Raises:
            ConfigError: there is none; the message names the nearest.
        """
        if name not in self._found:
            known = ", ".join(self._found) or "none"
            raise ConfigError(f"no {self.what} {name!r}{nearest(name, self._found)}: known are {known}")
        return self._found[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._found)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._found.values()))

    def __len__(self) -> int:
        return len(self._found)
