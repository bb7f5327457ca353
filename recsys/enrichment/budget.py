"""How many tokens, and how much money, a night may still use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recsys.enrichment.config import EnrichConfig
from recsys.enrichment.request import TextRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What is left."""

    tokens: int | None
    """None: no limit."""
    cost: float | None
    """None: no limit."""
    price_input: float = 0.0
    """Of a million tokens."""
    price_output: float = 0.0

    @classmethod
    def of_night(cls, config: EnrichConfig) -> "Budget":
        """The whole budget of a night."""
        return cls(
            tokens=config.max_tokens,
            cost=config.max_cost,
            price_input=config.price_input,
            price_output=config.price_output,
        )

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.tokens is not None or self.cost is not None

    def cost_of(self, input_tokens: int, output_tokens: int) -> float:
        """Price of so many tokens."""
        return (input_tokens * self.price_input + output_tokens * self.price_output) / 1e6

    def less(self, input_tokens: int, output_tokens: int) -> "Budget":
        """What is left after so many tokens."""
        return replace(
            self,
            tokens=None if self.tokens is None else self.tokens - input_tokens - output_tokens,
            cost=None if self.cost is None else self.cost - self.cost_of(input_tokens, output_tokens),
        )

    def affordable(self, requests: Sequence[TextRequest], most_output_tokens: int) -> int:
        """How many of the first requests surely fit: each is counted with the most tokens that it can take."""
        if not self.is_limited:
            return len(requests)
        left = self
        for number, request in enumerate(requests):
            left = left.less(request.most_input_tokens, most_output_tokens)
            if (left.tokens is not None and left.tokens < 0) or (left.cost is not None and left.cost < 0):
                return number
        return len(requests)
