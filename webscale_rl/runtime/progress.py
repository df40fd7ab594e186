"""Progress of long work: one live line on a terminal, plain lines elsewhere, and the package's log."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

_LOG = logging.getLogger(__name__)


class Progress:
    """Says nothing; the base for a caller who wants to be told otherwise."""

    def begin(self, stage: str, total: int, unit: str = "rows") -> None:
        """A stage starts; total is what it has to do, in units."""

    def advance(self, done: int, kept: int, tokens: int = 0) -> None:
        """More units are done: how many, how many of them kept, and the tokens that they took."""

    def end(self) -> None:
        """The stage is over."""

    def note(self, message: str) -> None:
        """Something worth a line of its own."""

    def warn(self, message: str) -> None:
        """Something that went wrong and was dealt with; a note, where nothing else is done about it."""
        self.note(message)


class LoggedProgress(Progress):
    """Logs begin and end of stages, notes and warnings, and passes everything on."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._stage, self._unit = "", "rows"
        self._total = self._done = self._kept = self._tokens = 0
        self._started = time.monotonic()

    def begin(self, stage: str, total: int, unit: str = "rows") -> None:
        self._stage, self._total, self._unit = stage, total, unit
        self._done = self._kept = self._tokens = 0
        self._started = time.monotonic()
        _LOG.info("%s: %d %s to do", stage, total, unit)
        self._inner.begin(stage, total, unit)

    def advance(self, done: int, kept: int, tokens: int = 0) -> None:
        self._done += done
        self._kept += kept
        self._tokens += tokens
        _LOG.debug("%s: %d of %d %s done", self._stage, self._done, self._total, self._unit)
        self._inner.advance(done, kept, tokens)

    def end(self) -> None:
        _LOG.info(
            "%s: %d of %d %s done, %d kept, %d tokens, %.1f seconds",
            *(self._stage, self._done, self._total, self._unit, self._kept, self._tokens),
            time.monotonic() - self._started,
        )
        self._inner.end()

    def note(self, message: str) -> None:
        _LOG.info("%s", message)
        self._inner.note(message)

    def warn(self, message: str) -> None:
        _LOG.warning("%s", message)
        self._inner.warn(message)


class TextProgress(Progress):
    """Progress as text: done, total, kept so far, tokens per second, time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._stage = ""
        self._reset(0, "rows")

    def _reset(self, total: int, unit: str) -> None:
        self._total, self._unit = total, unit
        self._done = self._kept = self._tokens = 0
        self._started = time.monotonic()

    def begin(self, stage: str, total: int, unit: str = "rows") -> None:
        self._stage = stage
        self._reset(total, unit)
        if total:
            self._show()

    def advance(self, done: int, kept: int, tokens: int = 0) -> None:
        self._done += done
        self._kept += kept
        self._tokens += tokens
        self._show()

    def end(self) -> None:
        if self._live and self._total:
            self._stream.write("\n")
            self._stream.flush()
        self._total = 0

    def note(self, message: str) -> None:
        clear = "\r\x1b[K" if self._live else ""
        self._stream.write(f"{clear}{message}\n")
        self._stream.flush()

    def _show(self) -> None:
        line = self.line()
        self._stream.write(f"\r\x1b[K{line}" if self._live else line + "\n")
        self._stream.flush()

    def line(self) -> str:
        """The state in one line."""
        seconds = time.monotonic() - self._started
        parts = [f"{self._stage:<14} {self._done}/{self._total} {self._unit}"]
        if self._done:
            parts.append(f"kept {self._kept}")
        if self._tokens and seconds > 0:
            parts.append(f"{self._tokens / seconds:.0f} tokens/s")
        if 0 < self._done < self._total:
            left = seconds / self._done * (self._total - self._done)
            parts.append(f"{_duration(left)} left")
        elif self._done:
            parts.append(f"{_duration(seconds)}")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
