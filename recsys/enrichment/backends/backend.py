"""What a back end is: something that writes a text about an item or a user."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.config.section import Section
from recsys.enrichment.request import TextReply, TextRequest

S = TypeVar("S", bound=Section)


class PhraseEncoder(Protocol):
    """What a back end needs of a text encoder; `recsys.model.text_encoder.TextEncoder` has it."""

    dim: int
    """D."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit vectors [N, D] of N texts."""


class Writer(Protocol):
    """A back end that is ready to write: it is loaded once in each worker."""

    def write(self, requests: Sequence[TextRequest]) -> list[TextReply]:
        """One reply for each request, in their order. A reply belongs to its request whatever it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterNeeds:
    """What a writer may use beside its settings."""

    max_output_tokens: int
    max_keywords: int
    encoder: Callable[[], PhraseEncoder]
    """Loads the text encoder of the night."""


class Backend(ABC, Generic[S]):
    """A way to have texts written. It is registered once and has no state."""

    name: ClassVar[str]
    """What `enrich.backend` says."""
    summary: ClassVar[str]
    """One sentence for people."""
    settings: ClassVar[type[Section]]
    """Class of `enrich.settings`."""
    texts_per_part: ClassVar[int] = 64
    """Texts that a worker writes before it stores them: what an interruption loses at most."""
    needs_encoder: ClassVar[bool] = False
    """Whether it writes with the text encoder of the night."""
    counts_tokens: ClassVar[bool] = True
    """Whether its texts take tokens, which the budget of the night limits."""
    runner: ClassVar[str] = "recsys.pipeline.enrichment.run_writers:write_on_workers"
    """`module:name` of the function that has the parts of a night written."""

    @abstractmethod
    def identity(self, settings: S, max_output_tokens: int) -> dict[str, Any]:
        """What decides its texts, besides facts and prompts: plain values. Other values mean other texts."""

    @abstractmethod
    def open(self, settings: S, needs: WriterNeeds) -> Writer:
        """Load what it needs, in a worker.

        Raises:
            ConfigError: a model, a package or a key is missing.
        """

    def model(self, settings: S) -> str:  # noqa: ARG002 (back ends with a model say it)
        """Name of its model, for the table of written texts."""
        return self.name

    def local_model(self, settings: S) -> str | None:  # noqa: ARG002 (back ends with a model folder say it)
        """The model where it may be a folder, whose files decide the texts; None: the identity says all."""
        return None

    def check(self, settings: S) -> None:
        """Refuse what cannot work, before the night begins.

        Raises:
            ConfigError: a package or a key is missing.
        """

    def workers(self, settings: S) -> int | None:  # noqa: ARG002
        """Workers at a time; None: one for each CPU or GPU."""
        return None

    def gpus(self, settings: S) -> int:  # noqa: ARG002
        """GPUs of a worker."""
        return 0
