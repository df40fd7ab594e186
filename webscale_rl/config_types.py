"""Settings that several stages share."""

from __future__ import annotations

from pydantic import Field

from webscale_rl.llm.messages import Sampling
from webscale_rl.settings import Section


class AskingSettings(Section):
    """A step that asks a language model."""

    engine: str = Field(description="name of an engine (conf/engines.yml)")
    prompt: str = Field(description="a name in conf/prompts, or the path of your own file")
    sampling: Sampling = Field(description="how tokens are drawn")
