"""Text: how similar an item's text is to the texts of the history, and to what the user searched for.

The rest of it lies in `recsys.signals.text_evidence`, which loads torch; stages that only count do without torch.
"""

from typing import ClassVar

from recsys.signals.signal import LoadedSignal, NightSource, Signal

#: Nats that a cosine of 1 between an item's text and a query counts at the moment of the search. Softmaxes over cosines
#: learn a scale of this size: CLIP starts at 14 and ends at 100 (Radford et al., ICML 2021).
QUERY_WEIGHT = 20.0


class Text(Signal):
    """How similar the item's text is to the texts of the history and of what the user searched for."""

    name = "text"
    columns: ClassVar = {
        "text": "how much the texts of the history (mostly of its last items) and of the searches say for the item",
        "query": "cosine of the item's text with the searches",
    }
    relates_items = True
    sentences = ("similar to {}", "close to your query", "close to what you told us")
    query_weight: ClassVar = {"query": QUERY_WEIGHT}

    def load(self, source: NightSource) -> LoadedSignal:
        """The model of the catalog's text vectors."""
        return source.text()
