"""Settings of the text encoder and of the ranker's network."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from recsys.config.section import Positive, Precision, Section
from recsys.model.ranker_spec import ItemParts

#: `encoder.model` of a night that takes the best encoder which it finds at its start.
AUTO = "auto"
#: Begin of an `encoder.model` that is the encoder of another shop's published model.
OTHER_STORAGE = "storage://"
#: Begin of an `encoder.model` that `jobs/compress.py` has made in the own storage.
COMPRESSED = "compressed://"

#: What of an encoder is quantized: nothing, weights and activations, or only weights.
Quantization = Literal["none", "int8", "int8_weights"]
#: How token vectors become one.
Pooling = Literal["auto", "mean", "cls", "last"]


class ScratchEncoderConfig(Section):
    """The small encoder that is trained on the catalog if `encoder.model` is null, or auto finds no other."""

    hidden_size: Positive = 128
    """Width of the text vector."""
    layers: Positive = 2
    """Transformer layers."""
    heads: Positive = 2
    """Attention heads; must divide `hidden_size`."""
    vocab_size: Annotated[int, Field(ge=300)] = 8192
    """Tokens of the byte-level tokenizer trained on the catalog."""
    pretrain_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of contrastive pretraining on the catalog's text."""
    pretrain_batch_size: Positive = 128
    """Texts of a pretraining step; each is contrasted with all others of the step."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Peak learning rate of pretraining."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "ScratchEncoderConfig":
        if self.hidden_size % self.heads:
            raise ValueError(f"heads={self.heads} must divide hidden_size={self.hidden_size}")
        return self


class BasketsConfig(Section):
    """How the encoder learns from baskets, if `encoder.train` is baskets."""

    steps: Positive = 400
    """Optimiser steps."""
    users: Positive = 256
    """Users of a step, for each training worker."""
    items: Annotated[int, Field(ge=4)] = 1024
    """Items of a step, for each training worker: those of its users, and others. Their texts are read with gradient."""
    checks: Positive = 4
    """Measurements on validation users. The best state is kept, or the encoder of before if none is better."""


class AdaptConfig(Section):
    """How a pretrained encoder learns the shop's own texts, before anything reads its vectors."""

    steps: Annotated[int, Field(ge=0)] = 0
    """Optimiser steps of the first night that uses the encoder; later nights use the result. 0: it stays as it is."""
    objective: Literal["parts", "masked"] = "parts"
    """What it learns. parts: which two random parts are of one text. masked: to guess masked words."""
    batch_size: Positive = 32
    """Texts of a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    """Peak learning rate of the encoder."""


class EncoderConfig(Section):
    """The language model that turns each text of an item into a vector."""

    model: str | None = AUTO
    """auto: the pretrained MiniLM that the installation brings. Else a hub id, a local folder, `package://name/folder`
    (weights in an installed package), `storage://` and the `storage` of another shop (the encoder of its published
    model), `compressed://name` (a smaller encoder that `jobs/compress.py` made), or null: a small one from scratch."""
    revision: str | None = None
    """Commit of the hub model, or id of the other shop's model. null: its default branch; the published model."""
    train: Literal["frozen", "baskets", "lora", "full"] = "frozen"
    """How it is trained: not at all, from baskets before the ranker, or with the ranker: by low-rank adapters, or all
    weights."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Its peak learning rate in training. null: 2e-5 if `train` is full, 5e-5 if it is baskets, 2e-4 if it is lora."""
    lora_rank: Positive = 16
    """Rank of the adapters, if `train` is lora."""
    pooling: Pooling = "auto"
    """How token vectors become one. auto: as the model's folder declares, else `last` for decoders, else `mean`."""
    max_tokens: Annotated[int, Field(ge=4)] = 64
    """Longer texts are cut to this many tokens."""
    batch_size: Positive = 128
    """Texts of a forward pass."""
    precision: Precision = "auto"
    """Arithmetic of the encoder. auto: bf16 for a pretrained one if the device multiplies it natively, else fp32."""
    engine: Literal["torch", "onnx"] = "torch"
    """What runs the encoder. onnx: ONNX Runtime, on CPUs, in the night and live; see `docs/smaller-models.md`."""
    quantization: Quantization = "none"
    """Numbers of 8 bits, for a frozen encoder. int8: weights and activations, by the engine onnx: faster. int8_weights:
    only weights, by the engine torch: half the memory of bf16, for large models."""
    num_workers: Positive | None = None
    """Encoder workers. null: one for each CPU, or for each GPU."""
    use_gpu: bool = False
    """One GPU for each encoder worker."""
    adapt: AdaptConfig = AdaptConfig()
    """Continued pretraining of a pretrained encoder on the texts of the catalog."""
    baskets: BasketsConfig = BasketsConfig()
    """Learning from baskets, if `train` is baskets."""
    scratch: ScratchEncoderConfig = ScratchEncoderConfig()
    """The small encoder, if `model` is null."""

    @model_validator(mode="after")
    def _auto_has_its_own_revision(self) -> "EncoderConfig":
        if self.revision is not None and (self.model == AUTO or self.is_compressed):
            raise ValueError(
                f"revision={self.revision} belongs to a hub model: name the model, or set revision to null"
            )
        return self

    @model_validator(mode="after")
    def _can_be_adapted(self) -> "EncoderConfig":
        if not self.is_adapted:
            return self
        if self.quantization == "int8_weights":
            raise ValueError("quantization=int8_weights is for a model as it was downloaded: set adapt.steps to 0")
        if self.is_compressed:
            raise ValueError(
                f"adapt.steps={self.adapt.steps} is for the encoder that {self.model} was made from: set 0"
            )
        return self

    @model_validator(mode="after")
    def _engine_can_run_it(self) -> "EncoderConfig":
        if self.quantization != "none":
            needed = "onnx" if self.quantization == "int8" else "torch"
            if self.engine != needed:
                raise ValueError(f"quantization={self.quantization} needs engine={needed}, got {self.engine}")
            if self.learns:
                raise ValueError(
                    f"quantization={self.quantization} is for a frozen encoder: set train={self.train} to frozen, or "
                    f"quantization to none"
                )
        if self.engine == "torch":
            return self
        if self.use_gpu:
            raise ValueError("engine=onnx runs on CPUs: set use_gpu to false, or engine to torch")
        if self.precision not in ("auto", "fp32"):
            raise ValueError(f"engine=onnx computes in fp32, not in {self.precision}: set precision to auto")
        return self

    @property
    def is_transferred(self) -> bool:
        """Whether it comes from another shop's storage."""
        return self.model is not None and self.model.startswith(OTHER_STORAGE)

    @property
    def is_compressed(self) -> bool:
        """Whether `jobs/compress.py` made it: the own storage has it."""
        return self.model is not None and self.model.startswith(COMPRESSED)

    @property
    def is_stored(self) -> bool:
        """Whether the configured encoder is in the own storage: a copy of another shop's, or a compressed one."""
        return self.is_transferred or self.is_compressed

    def for_digest(self) -> dict[str, Any]:
        """All settings as JSON, as they were before there were keys that have no effect here: digests stay the same."""
        settings = self.model_dump(mode="json")
        for key in ("engine", "quantization"):
            if settings[key] == EncoderConfig.model_fields[key].default:
                del settings[key]
        if not self.is_adapted:
            del settings["adapt"]
        return settings

    @property
    def is_adapted(self) -> bool:
        """Whether it learns the shop's texts before its first use."""
        return self.adapt.steps > 0

    @property
    def learns(self) -> bool:
        """Whether each night trains the encoder."""
        return self.train != "frozen"

    @property
    def learns_with_ranker(self) -> bool:
        """Whether it is trained with the ranker, and not before it."""
        return self.train in ("lora", "full")

    @property
    def peak_learning_rate(self) -> float:
        """Peak learning rate in training. Adapters start from zero and need ten times as much as pretrained weights."""
        return self.learning_rate or {"baskets": 5e-5, "lora": 2e-4}.get(self.train, 2e-5)

    @property
    def arithmetic(self) -> Precision:
        """Precision of this encoder. A small one from scratch takes fp32: matrix products take little of its time."""
        return "fp32" if self.precision == "auto" and self.model is None else self.precision


class RankerConfig(Section):
    """The causal transformer over item vectors."""

    model: str | None = None
    """Hub id or local folder of a decoder with full attention, or null: a small one of the sizes below."""
    revision: str | None = None
    """Commit of the hub model. null: its default branch."""
    hidden_size: Positive = 128
    """Width of item and user vectors, and of the small decoder."""
    layers: Positive = 2
    """Layers of the small decoder."""
    heads: Positive = 4
    """Attention heads of the small decoder; must divide `hidden_size`."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of input and output features that training drops."""
    parts: ItemParts = "both"
    """Parts of an item's vector: its text, an embedding of its id, or both. Ids alone give new items no vector."""
    id_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """Share of items whose id embedding a training step drops, so that their text alone must be enough."""
    relative_time: bool = False
    """Let attention depend on the time between events. It needs real times, and costs time in training and in lists."""
    train: Literal["full", "lora"] = "full"
    """Train all weights of the decoder, or low-rank adapters of its linear layers."""
    lora_rank: Positive = 16
    """Rank of the adapters, if `train` is lora."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "RankerConfig":
        if self.model is None and self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of 2 × heads={self.heads}, for rotary positions"
            )
        return self
