"""What is needed to build a ranker's network."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

ItemParts = Literal["both", "text", "ids"]

#: Version of the network. It rises when older weights no longer mean the same.
ARCHITECTURE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerSpec:
    """Sizes and options of a ranker's network; stored in ``model.json``."""

    num_items: int
    """I."""
    text_dim: int
    """T, of the text encoder."""
    item_dim: int
    """D, of item and user vectors."""
    num_event_kinds: int
    """Kinds of events, without the unknown kind 0."""
    decoder: dict[str, Any]
    """Hugging Face config of the decoder."""
    dropout: float
    """Share of input and output features that are dropped in training."""
    id_dropout: float
    """Share of items whose id embedding is dropped in a training step."""
    parts: ItemParts = "both"
    """Parts of an item vector."""
    user_texts: bool = False
    """Whether histories hold texts of users in addition to items."""

    logit_bias: bool = False
    """Whether logits have a bias: a probability for each item by itself needs one, a softmax does not."""
    relative_time: bool = False
    """Whether attention depends on the time between events, see `recsys.model.relative_time`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as for JSON."""
        return asdict(self)
