"""What engines raise."""

from __future__ import annotations


class EngineError(Exception):
    """Root of what engines raise; the message is one line that says what to do."""


class MissingExtraError(EngineError):
    """The package behind an engine is not installed."""


class ModelMissingError(EngineError):
    """The model file is not there or is not a model file."""


class OptionsError(EngineError):
    """An engine option is unknown or out of range."""


class EngineDied(EngineError):
    """The engine cannot answer any more; the task has to end."""


class RequestError(Exception):
    """One request cannot be served and never will be; becomes a lasting fault of its row."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")


class TransientError(Exception):
    """A fault that another try may not meet; becomes a passing fault of its row."""
