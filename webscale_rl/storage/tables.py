"""The tables that no stage owns: calls to models, recipes, runs and the lease."""

from __future__ import annotations

from pyspark.sql.types import (
    ArrayType,
)

from udfs.engines.completion import FIELDS
from webscale_rl.core.table import (
    DOUBLE,
    INT,
    LONG,
    STRING,
    TIME,
    Table,
)

_SQL_TYPES = {"string": STRING, "int": INT, "double": DOUBLE, "array<double>": ArrayType(DOUBLE)}
_OF_ENGINES = tuple((field.name, _SQL_TYPES[field.sql], field.meaning) for field in FIELDS)
COMPLETIONS = Table(
    "completions",
    "calls to a language model: each logical request once, with its raw reply",
    (
        _OF_ENGINES[0],
        ("stage", STRING, "stage or gates that asked first"),
        ("chunk", INT, "chunk of that stage's run"),
        ("engine", STRING, "name of the engine in the configuration"),
        ("model", STRING, "content hash or declared revision of the model"),
        *_OF_ENGINES[1:],
        (
            "decided_by",
            STRING,
            "settings that could fix a permanent fault, as JSON; it is asked again once they differ",
        ),
        ("finished_at", TIME, "when the chunk was written"),
        ("run", LONG, "epoch of the run that paid for it"),
    ),
    ("run",),
    ("request_id",),
)
ATTEMPTS = Table(
    "attempts",
    "transient faults: what was tried and failed, while its row stays pending",
    (
        ("request_id", STRING, "the request"),
        ("stage", STRING, "stage or gates that asked"),
        ("recipe", STRING, "recipe in force; null if several gates asked together"),
        ("number", INT, "number of the attempt at this request, from 1"),
        ("error", STRING, "what went wrong"),
        ("failed_at", TIME, "when"),
        ("run", LONG, "epoch of the run"),
    ),
    (),
    ("request_id", "run", "number"),
)
RECIPES = Table(
    "recipes",
    "every recipe hash with its canonical JSON in full",
    (
        ("recipe", STRING, "the hash"),
        ("stage", STRING, "stage or gate"),
        ("body", STRING, "canonical JSON of everything the outcome depends on"),
        ("run", LONG, "epoch of the run that used it first"),
    ),
    (),
    ("recipe",),
)
ACTIVE = Table(
    "active",
    "which recipe of each stage and gate is in force",
    (
        ("stage", STRING, "stage or gate"),
        ("recipe", STRING, "recipe in force"),
        ("run", LONG, "epoch of the run that set it"),
    ),
    (),
    ("stage",),
)
RUNS = Table(
    "runs",
    "one row per run",
    (
        ("run", LONG, "epoch: grows by one with each run that takes the warehouse"),
        ("run_id", STRING, "random identifier"),
        ("version", STRING, "version of the package"),
        ("started_at", TIME, "when it took the warehouse"),
        ("ended_at", TIME, "when it ended; null while it runs or when it was killed"),
        ("outcome", STRING, "running, done, stopped (by a limit), interrupted or failed"),
        ("message", STRING, "why it stopped or failed"),
        ("requests", LONG, "requests that went to a model"),
        ("tokens", LONG, "prompt and completion tokens paid, cached ones included"),
        ("cost", DOUBLE, "cost, if prices are configured"),
        ("settings", STRING, "canonical JSON of the configuration, without secrets"),
    ),
    (),
    ("run",),
)
LEASE = Table(
    "lease",
    "one row: who holds the warehouse, and the epoch of the last run that took it",
    (
        ("epoch", LONG, "grows by one with each run"),
        ("run_id", STRING, "holder; null when free"),
        ("host", STRING, "host of the holder"),
        ("pid", LONG, "process of the holder"),
        ("pid_started", STRING, "boot and start time of that process, to detect a reused process number"),
        ("since", TIME, "when it was taken"),
        ("heartbeat", TIME, "last sign of life"),
    ),
    (),
    (),
)

STORAGE_TABLES = (COMPLETIONS, ATTEMPTS, RECIPES, ACTIVE, RUNS, LEASE)
