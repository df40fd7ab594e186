"""What engines raise: a branch of the package's tree of errors (`webscale_rl.errors`).

An `EngineError` that the user can mend is a `UserError` as well.
"""

from __future__ import annotations

from webscale_rl.errors import UserError, WebscaleRLError


class EngineError(WebscaleRLError):
    """Root of what engines raise; the message is one line that says what to do."""


class MissingExtraError(EngineError, UserError):
    """The package behind an engine is not installed."""


class ModelMissingError(EngineError, UserError):
    """The model file is not there or is not a model file."""


class OptionsError(EngineError, UserError):
    """An engine option is unknown or out of range."""


class EngineDied(EngineError):
    """The engine cannot answer any more; the task has to end."""


class RequestError(WebscaleRLError):
    """One request cannot be served and never will be; becomes a permanent fault of its row.

    Args:
        name: the reason, a short stable name.
        message: what was said, for people.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")


class TransientError(WebscaleRLError):
    """Another try may not meet this fault: its row stays pending. The message begins with a short name."""


class EngineFaultError(WebscaleRLError):
    """Every request would meet this fault until somebody mends the engine's key, account or model.

    Its row stays pending, and the run stops. The message begins with a short name.
    """
