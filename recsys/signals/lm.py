"""The language model as a judge: how likely it finds an item's title after the titles of the history.

The rest of it lies in `recsys.signals.lm_evidence`, which loads torch; stages that only count do without torch.
"""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from recsys.config.section import Positive, Precision, Section
from recsys.signals.signal import LoadedSignal, NightSource, Signal

#: Stands in a prompt for the titles of the history.
HISTORY = "{history}"


class LmConfig(Section):
    """The config section `lm`: lists by a causal language model, without any training."""

    model: Annotated[str, Field(min_length=1)]
    """Hub id or local folder of a causal language model with full attention, such as a Qwen3 or a Llama."""
    revision: str | None = None
    """Commit of the hub model. null: its default branch."""
    prompt: str = f"A customer bought these products:{HISTORY}\nThe customer then buys:\n-"
    """What the model reads before a title. `{history}` becomes one line with `- ` for each item, the newest last."""
    max_history: Positive = 10
    """Newest items of a history that the prompt names."""
    max_title_tokens: Annotated[int, Field(ge=1, le=256)] = 32
    """Longer titles are cut to this many tokens."""
    candidates: Positive = 30
    """Candidates of a user that are judged: the best by all other signals. Others get the number 0."""
    generate: Annotated[int, Field(ge=0, le=100)] = 0
    """Titles of the catalog that the model writes itself for each user, as further candidates; 0: none."""
    precision: Precision = "auto"
    """Arithmetic. auto: bf16 where the device multiplies it natively, else fp32."""
    batch_size: Positive = 32
    """Titles of a forward pass."""

    @field_validator("prompt", mode="after")
    @classmethod
    def _holds_the_history(cls, prompt: str) -> str:
        if prompt.count(HISTORY) != 1:
            raise ValueError(f"must hold {HISTORY} once, where the titles of the history go")
        if prompt != prompt.rstrip():
            raise ValueError("must not end with white space: the title that follows brings its own")
        return prompt


class LmSignal(Signal):
    """How much the titles of the history raise the probability of the item's title, by a language model."""

    name = "lm"
    columns: ClassVar = {
        "lm": "log P(title | titles of the history) − log P(title | no history), by the language model"
    }
    sentences = ("its title fits what you chose before",)
    default_weights: ClassVar = {"lm": 0.03}
    section = "lm"
    optional = True

    def load(self, source: NightSource) -> LoadedSignal:
        """The language model, with the titles of the catalog."""
        return source.language_model()
