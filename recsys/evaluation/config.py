"""The settings of the gate."""

from typing import Annotated

from pydantic import Field

from recsys.config.section import Fraction, Positive, Section


class GateConfig(Section):
    """What a new model must show before it is published: not to be significantly worse than what is there."""

    holdout_days: Positive = 7
    """Newest days kept from training; the model is measured on them."""
    metric: Annotated[str, Field(pattern=r"^(ndcg|recall|hitrate|mrr)@[1-9][0-9]{0,3}$")] = "ndcg@10"
    """What is compared: `ndcg@k`, `recall@k`, `hitrate@k` or `mrr@k`."""
    tolerance: Fraction = 0.02
    """Share of the published model's metric that a new model may surely be below it, and still be published."""
    min_users: Positive = 20
    """With fewer held-out users the gate warns and lets the model pass, since nothing can be told from them."""
    max_users: Positive = 10_000
    """Held-out users measured at most, chosen by hash."""
