"""The section `compress` of the config: how `jobs/compress.py` makes smaller text encoders."""

from typing import Annotated

from pydantic import Field

from recsys.config.section import Fraction, Positive, Section


class CompressConfig(Section):
    """How `jobs/compress.py` makes smaller text encoders, and which of them it advises."""

    layers: list[Positive] = Field(default_factory=lambda: [3])
    """For each number one variant with so many layers. It learns the vectors of the teacher."""
    vocabulary: bool = True
    """Leave out the tokens that no text of the shop has."""
    spare_tokens: Annotated[int, Field(ge=0)] = 2000
    """Frequent words of the tokenizer that stay although no text has them yet, for new items and searches."""
    teacher: str | None = None
    """A larger encoder whose vectors variants with fewer layers learn: a hub id, a local folder or
    `package://name/folder`. null: the encoder of the newest published night, which is the one that is compressed."""
    teacher_revision: str | None = None
    """Commit of the teacher, if it is a hub model."""
    steps: Positive = 400
    """Optimiser steps of a variant that learns."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Texts of a step, for each training worker."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Its peak learning rate."""
    checks: Positive = 4
    """Measurements on validation texts. The best state is kept."""
    max_texts: Positive = 50_000
    """Texts that variants learn from at most, drawn by the seed; as many parts of them take the place of searches."""
    max_users: Positive = 5_000
    """Users that NDCG@10 of the text signal is measured on, at most, drawn by hash."""
    max_loss: Fraction = 0.03
    """Share of NDCG@10 that the advised variant may lose."""
