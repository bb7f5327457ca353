"""Names of the variants of a text encoder that `jobs/compress.py` makes and measures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from recsys.errors import ConfigError
from recsys.training.compress_config import CompressConfig

#: The encoder as it is.
FULL = "full"
#: All layers, and only the tokens that the shop uses.
VOCABULARY = "vocabulary"
_LAYERS = re.compile(r"layers-([1-9]\d*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderVariant:
    """What is left of an encoder."""

    name: str
    layers: int | None = None
    """How many; None: all."""
    vocabulary: bool = False
    """Whether tokens that the shop does not use are left out."""

    @property
    def is_made(self) -> bool:
        """Whether it is another encoder than the one of the night."""
        return self.vocabulary or self.layers is not None


def usual_variants(compress: CompressConfig) -> list[str]:
    """Names of the variants that the settings ask for."""
    return [FULL, *([VOCABULARY] if compress.vocabulary else []), *(f"layers-{num}" for num in compress.layers)]


def variants_of(names: Sequence[str], compress: CompressConfig) -> list[EncoderVariant]:
    """The variants with these names. The full encoder is the first: the others are compared with it.

    Raises:
        ConfigError: a name is unknown.
    """
    variants = [EncoderVariant(name=FULL)]
    for name in dict.fromkeys(names):
        if name == VOCABULARY:
            variants.append(EncoderVariant(name=name, vocabulary=True))
        elif (found := _LAYERS.fullmatch(name)) is not None:
            variants.append(EncoderVariant(name=name, layers=int(found[1]), vocabulary=compress.vocabulary))
        elif name != FULL:
            raise ConfigError(f"--variants {name}: there are {FULL}, {VOCABULARY}, and layers-N such as layers-3")
    return variants
