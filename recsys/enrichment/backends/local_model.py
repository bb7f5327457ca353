"""A Hugging Face causal model on the machines of the cluster, through transformers."""

from importlib import import_module
from typing import Annotated, Any

from pydantic import Field

from recsys.config.section import Positive, Precision, Section
from recsys.enrichment.backends.backend import Backend, Writer, WriterNeeds


class LocalModelSettings(Section):
    """Settings of `transformers`."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id, local folder, or `package://name/folder` of a causal language model with safetensors weights."""
    revision: str | None = None
    """Commit of the hub model; null: its default branch."""
    batch_size: Positive = 8
    """Texts of a forward pass."""
    precision: Precision = "auto"
    """Arithmetic; auto: bf16 where the device multiplies it natively, else fp32."""
    num_workers: Positive | None = None
    """Workers, each with a copy of the model in memory; null: one for each CPU, or for each GPU."""
    use_gpu: bool = False
    """One GPU for each worker."""


class LocalModelBackend(Backend[LocalModelSettings]):
    """A local language model."""

    name = "transformers"
    summary = "A Hugging Face causal model in Ray's workers, greedy, with its chat template if it has one."
    settings = LocalModelSettings
    texts_per_part = 32

    def identity(self, settings: LocalModelSettings, max_output_tokens: int) -> dict[str, Any]:
        """The model and the length of an answer."""
        return {"model": settings.model, "revision": settings.revision, "max_output_tokens": max_output_tokens}

    def model(self, settings: LocalModelSettings) -> str:
        """The model as the config names it."""
        return settings.model

    def local_model(self, settings: LocalModelSettings) -> str:
        """The same: a folder may get other files."""
        return settings.model

    def workers(self, settings: LocalModelSettings) -> int | None:
        """As the settings say."""
        return settings.num_workers

    def gpus(self, settings: LocalModelSettings) -> int:
        """One, if GPUs are used."""
        return int(settings.use_gpu)

    def open(self, settings: LocalModelSettings, needs: WriterNeeds) -> Writer:
        """Load model and tokenizer.

        Raises:
            ConfigError: there is no such model, or it is no causal language model.
        """
        # by name: torch comes with it, and the config names the back ends
        writer = import_module("recsys.enrichment.local_writer").LocalModelWriter
        loaded: Writer = writer(settings, needs.max_output_tokens)
        return loaded
