"""The ranker as a signal: what the language model and the transformer over histories say.

The rest of it lies in `recsys.signals.ranker_evidence`, which loads torch; stages that only count do without torch.
"""

from typing import ClassVar

from recsys.signals.signal import LoadedSignal, NightSource, Signal


class RankerSignal(Signal):
    """How well the item fits what the user did, said and is, by the fine-tuned ranker."""

    name = "ranker"
    columns: ClassVar = {
        "retrieval": "the logit of P(item | user): the user's last state times the item vector",
        "candidate_pass": "what scoring the candidates as tokens after the history adds to that logit",
    }
    relates_items = True
    sentences = ("in line with your history", "in line with what you told us")
    default_weights: ClassVar = {"retrieval": 1.0, "candidate_pass": 1.0}

    def load(self, source: NightSource) -> LoadedSignal:
        """The night's model over the catalog."""
        return source.ranker()
