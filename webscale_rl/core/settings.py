"""The base of every typed section of the configuration, and what the steps that ask a model share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Marks a field that names files: what a user's file says is looked for beside that file first.
IS_PATH: dict[str, Any] = {"is_path": True}


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Sampling(Section):
    """How tokens are drawn; all of it is part of a request's key (length and stops: the prompt's)."""

    temperature: float = Field(ge=0, le=5, description="0 takes the likeliest token")
    top_p: float = Field(gt=0, le=1, description="nucleus")
    top_k: int = Field(ge=0, description="0 for all")
    min_p: float = Field(ge=0, le=1, description="0 for all")
    repeat_penalty: float = Field(gt=0, description="1 for none")
    seed: int = Field(ge=0, description="seed of each request")


class AskingSettings(Section):
    """A step that asks a language model."""

    engine: str = Field(description="name of an engine (conf/engines.yml)")
    prompt: str = Field(
        description="a name in conf/prompts, or the path of your own file", json_schema_extra=IS_PATH
    )
    sampling: Sampling = Field(description="how tokens are drawn")
