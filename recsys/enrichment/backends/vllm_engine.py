"""vLLM on GPUs, through `ray.data.llm`: the night's questions are one Ray Data set, which engines answer in batches.

It was never run where this was written, since that needs vLLM and a GPU. Its requests and answers are tested.
"""

import importlib.util
from typing import Annotated, Any

from pydantic import Field

from recsys.config.section import Positive, Section
from recsys.enrichment.backends.backend import Backend, Writer, WriterNeeds
from recsys.errors import ConfigError


class VllmSettings(Section):
    """Settings of `vllm`."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id or folder of the model, as vLLM takes it."""
    num_engines: Positive = 1
    """Engines at a time, each on its own GPUs."""
    tensor_parallel_size: Positive = 1
    """GPUs of an engine."""
    batch_size: Positive = 64
    """Questions that go to an engine together."""
    max_model_len: Annotated[int, Field(ge=256)] = 4096
    """Tokens of a question and its answer."""


class VllmBackend(Backend[VllmSettings]):
    """vLLM engines."""

    name = "vllm"
    summary = "vLLM engines on GPUs through `ray.data.llm`, greedy."
    settings = VllmSettings
    texts_per_part = 256
    runner = "recsys.pipeline.enrichment.run_vllm:write_on_engines"

    def identity(self, settings: VllmSettings, max_output_tokens: int) -> dict[str, Any]:
        """The model and the length of an answer."""
        return {"model": settings.model, "max_output_tokens": max_output_tokens}

    def model(self, settings: VllmSettings) -> str:
        """The model as the config names it."""
        return settings.model

    def local_model(self, settings: VllmSettings) -> str:
        """The same: a folder may get other files."""
        return settings.model

    def check(self, settings: VllmSettings) -> None:  # noqa: ARG002
        """The package must be there.

        Raises:
            ConfigError: it is not.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError("enrich.backend=vllm needs the package vllm: pip install vllm")

    def open(self, settings: VllmSettings, needs: WriterNeeds) -> Writer:  # noqa: ARG002
        """Ray Data loads the engines, see `runner`."""
        raise AssertionError("vLLM engines are loaded by Ray Data")
