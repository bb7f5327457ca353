"""The settings of the text encoder and of the ranker's network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from recsys.config.section import Positive, Precision, Section


class ScratchEncoderConfig(Section):
    """The small encoder that is trained on the catalog where `encoder.model` is null."""

    hidden_size: Positive = 128
    """Width of the text vector."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 2
    """Attention heads; must divide `hidden_size`."""
    vocab_size: Annotated[int, Field(ge=300)] = 8192
    """Tokens of the byte-level tokenizer trained on the catalog."""
    pretrain_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of pretraining on the catalog's text, by telling parts of one text from parts of others."""
    pretrain_batch_size: Positive = 128
    """Texts a pretraining step; each is told from all others of the step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate of pretraining."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ScratchEncoderConfig":
        if self.hidden_size % self.heads:
            raise ValueError(f"heads={self.heads} must divide hidden_size={self.hidden_size}")
        return self


class EncoderConfig(Section):
    """The language model that turns an item's text into a vector, once per text."""

    model: str | None = None
    """Hub id, local folder, `package://name/folder` (weights in an installed package), or null: one from scratch."""
    revision: str | None = None
    """Commit of the hub model; null: its default branch."""
    train: Literal["frozen", "lora", "full"] = "frozen"
    """Whether it learns from interactions, with the ranker: not, by low-rank adapters, or with all of its weights."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Its peak learning rate in training; null: 2e-5 where `train` is full, 2e-4 where it is lora."""
    lora_rank: Positive = 16
    """Rank of the adapters where `train` is lora."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How token vectors become one; auto: as the model's folder declares, else `last` for decoders, else `mean`."""
    max_tokens: Annotated[int, Field(ge=4)] = 64
    """Longer texts are cut to this many tokens."""
    batch_size: Positive = 128
    """Texts a forward pass."""
    precision: Precision = "auto"
    """Arithmetic of the encoder; auto: bf16 for a pretrained one where the device multiplies it natively, else fp32."""
    num_workers: Positive | None = None
    """Encoder workers; null: one a CPU, or a GPU."""
    use_gpu: bool = False
    """One GPU for each encoder worker."""
    scratch: ScratchEncoderConfig = ScratchEncoderConfig()
    """The small encoder, where `model` is null."""

    @property
    def learns(self) -> bool:
        """Whether each night makes an encoder of its own."""
        return self.train != "frozen"

    @property
    def peak_learning_rate(self) -> float:
        """In training. Adapters begin as nothing and are few: they want ten times as much as weights that know much."""
        return self.learning_rate or {"lora": 2e-4}.get(self.train, 2e-5)

    @property
    def arithmetic(self) -> Precision:
        """`precision` of this encoder: one from scratch is so small that products are hardly what takes its time."""
        return "fp32" if self.precision == "auto" and self.model is None else self.precision


class RankerConfig(Section):
    """The causal transformer over item vectors."""

    model: str | None = None
    """Hub id or local folder of a full-attention decoder, or null: a small one of the sizes below."""
    revision: str | None = None
    """Commit of the hub model; null: its default branch."""
    hidden_size: Positive = 128
    """Width of item and user vectors, and of the small decoder."""
    layers: Positive = 2
    """Layers of the small decoder."""
    heads: Positive = 4
    """Attention heads of the small decoder; must divide `hidden_size`."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of input and output features dropped in training."""
    parts: Literal["both", "text", "ids"] = "both"
    """What an item's vector is made of: its text, an embedding of its id, or both; ids say nothing of new items."""
    id_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of items whose id embedding is dropped in a training step, so that text alone must do."""
    train: Literal["full", "lora"] = "full"
    """Train all weights of the decoder, or low-rank adapters of its linear layers."""
    lora_rank: Positive = 16
    """Rank of the adapters where `train` is lora."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "RankerConfig":
        if self.model is None and self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of 2 × heads={self.heads}, as rotary positions ask"
            )
        return self
