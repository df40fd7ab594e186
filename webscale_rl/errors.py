"""The errors of the package: one small tree, so that a caller can catch all of it by its root.

Engines raise errors of the same tree (`udfs.engines.errors`). This module imports nothing, so that Python
workers and trainers' machines can import it.

A `UserError` is something the user can fix (configuration, input, permissions); the command line
prints it as one line and exits with 2. Anything else under the root exits with 1.
"""

from __future__ import annotations


class WebscaleRLError(Exception):
    """Root of every error that this package raises on purpose."""


class UserError(WebscaleRLError):
    """Something the user can fix; the message says what to do."""


class ConfigError(UserError):
    """A configuration file or override is wrong."""


class MissingSparkError(UserError, ImportError):
    """The feature needs Spark, which is not installed or too old."""


class InputError(UserError):
    """The input cannot be read as configured (missing, no such column, wrong type)."""


class WarehouseError(UserError):
    """The warehouse cannot be opened, read or written."""


class WarehouseBusyError(WarehouseError):
    """Another run holds the warehouse."""


class OvertakenError(WebscaleRLError):
    """A newer run has taken the warehouse; this one must not write any more."""


class EngineUnavailableError(UserError):
    """The engine or its model cannot be used here."""


class EngineFailedError(WebscaleRLError):
    """The engine failed on everything it was given; no request is to blame."""


class UnparsableRepliesError(WebscaleRLError):
    """More than half of a stage's first replies could not be parsed."""


class BudgetReachedError(WebscaleRLError):
    """A limit on requests, tokens or cost was reached; the remaining rows stay pending."""
