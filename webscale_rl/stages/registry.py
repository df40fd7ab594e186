"""The stages that come along, in one chain; and who answers for a step.

A stage is found by its folder: the package's `stage` module has it as `STAGE`. Others register theirs with
`STAGES.register` in a module that the configuration names under `plugins`.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

import webscale_rl.stages
from webscale_rl.core.stage import Chain, Stage
from webscale_rl.core.table import Table
from webscale_rl.errors import ConfigError
from webscale_rl.runtime.model_stage import Asker, ModelStage
from webscale_rl.stages.check.gates.model import ModelGate
from webscale_rl.stages.check.gates.registry import GATES
from webscale_rl.stages.publish import QA_PAIRS
from webscale_rl.storage.tables import STORAGE_TABLES


def _shipped() -> Chain:
    folders = [found.name for found in pkgutil.iter_modules(webscale_rl.stages.__path__) if found.ispkg]
    waiting: list[Stage[Any]] = [
        import_module(f"{webscale_rl.stages.__name__}.{folder}.stage").STAGE for folder in folders
    ]
    chain = Chain()
    while waiting:
        ready = [stage for stage in waiting if stage.after is None or stage.after in chain]
        if not ready or len({stage.after for stage in ready}) < len(ready):
            names = ", ".join(f"{stage.name} behind {stage.after}" for stage in waiting)
            raise ConfigError(f"the shipped stages make no chain: {names}")
        for stage in ready:
            chain.register(stage)
        waiting = [stage for stage in waiting if stage not in ready]
    return chain


#: Every stage, in order.
STAGES = _shipped()


def all_tables() -> dict[str, Table]:
    """Every table of a warehouse by name."""
    return STAGES.tables | {table.name: table for table in (QA_PAIRS, *STORAGE_TABLES)}


def askers() -> dict[str, Asker]:
    """What asks a model, by the name of its recipe: stages, then gates."""
    stages = {stage.name: stage for stage in STAGES if isinstance(stage, ModelStage)}
    return stages | {gate.recipe_name: gate for gate in GATES if isinstance(gate, ModelGate)}


def asker(name: str) -> Asker:
    """What asks under a recipe's name.

    Raises:
        ConfigError: nothing of that name asks a model.
    """
    known = askers()
    if name not in known:
        raise ConfigError(f"no step {name!r} asks a model: known are {', '.join(known)}")
    return known[name]
