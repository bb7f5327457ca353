"""Names of the variants of a text encoder that `jobs/compress.py` makes and measures, and the config of each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recsys.errors import ConfigError
from recsys.model.config import AdaptConfig, EncoderConfig
from recsys.training.compress_config import CompressConfig

#: The encoder as it is.
FULL = "full"
#: All layers, and only the tokens that the shop uses.
VOCABULARY = "vocabulary"
#: What runs a variant, as the end of its name → keys of `encoder`.
ENGINES: dict[str, dict[str, Any]] = {
    "": {"engine": "torch", "quantization": "none"},
    "onnx": {"engine": "onnx", "quantization": "none"},
    "int8": {"engine": "onnx", "quantization": "int8"},
}
_LAYERS = re.compile(r"layers-([1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderVariant:
    """What is left of an encoder, and what runs it."""

    name: str
    """`full`, `vocabulary`, `layers-3`, or one of these with `+onnx` or `+int8`."""
    layers: int | None = None
    """How many; None: all."""
    vocabulary: bool = False
    """Whether tokens that the shop does not use are left out."""
    engine: str = ""
    """One of `ENGINES`."""

    @property
    def is_made(self) -> bool:
        """Whether it is another encoder than the one of the night."""
        return self.vocabulary or self.layers is not None

    @property
    def weights(self) -> str:
        """Its name without the engine."""
        return self.name.partition("+")[0]

    def settings(self, model: str | None) -> dict[str, Any]:
        """The keys of `encoder` that make a night read it; `model` names it, None: it is the encoder of the night."""
        named = {} if model is None else {"model": model}
        return named | (ENGINES[self.engine] if self.engine else {})

    def config(self, spec: EncoderConfig, model: str | None) -> EncoderConfig:
        """The encoder section of a night that reads it; `spec` is that of the night whose encoder is compressed."""
        plain: dict[str, Any] = {"revision": None, "train": "frozen", "pooling": "auto", "adapt": AdaptConfig()}
        named = {} if model is None else {"model": model, **plain}
        engine = ENGINES[self.engine] | ({"precision": "auto"} if self.engine else {})
        return spec.model_copy(update=named | engine)


def usual_variants(compress: CompressConfig, engines: Sequence[str]) -> list[str]:
    """Names of the variants that the settings ask for, with the engines that this machine has beside torch."""
    students = [f"layers-{num}" for num in compress.layers]
    names = [FULL, *([VOCABULARY] if compress.vocabulary else []), *students]
    return [*names, *(f"{name}+{engine}" for name in (FULL, *students) for engine in engines)]


def variants_of(names: Sequence[str], compress: CompressConfig) -> list[EncoderVariant]:
    """The variants with these names. The full encoder is the first: the others are compared with it.

    Raises:
        ConfigError: a name is unknown.
    """
    return [_variant(name, compress) for name in dict.fromkeys((FULL, *names))]


def _variant(name: str, compress: CompressConfig) -> EncoderVariant:
    weights, plus, engine = name.partition("+")
    layers = _LAYERS.fullmatch(weights)
    if (weights not in (FULL, VOCABULARY) and layers is None) or bool(plus) != bool(engine) or engine not in ENGINES:
        raise ConfigError(
            f"--variants {name}: there are {FULL}, {VOCABULARY}, and layers-N such as layers-3, each also with "
            f"{' or '.join(f'+{engine}' for engine in ENGINES if engine)}"
        )
    if layers is None:
        return EncoderVariant(name=name, vocabulary=weights == VOCABULARY, engine=engine)
    return EncoderVariant(name=name, layers=int(layers[1]), vocabulary=compress.vocabulary, engine=engine)
