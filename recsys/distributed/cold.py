"""The cold stage: who lends to items without interactions; the lending itself is in `recsys.recommend.cold`."""

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt

from recsys.distributed.cluster import for_each_part, peak_of
from recsys.distributed.encode import read_text_vectors
from recsys.distributed.night import COUNTS, AsOf, CountsOf, Night, Record
from recsys.recommend.cold import Lending, find_lenders, strangers
from recsys.recommend.retrieve import unit_rows
from recsys.recommend.tail import item_popularity
from recsys.schema import LENDERS
from recsys.storage.tables import read_table, write_table

_STRANGERS = "strangers"


def match_new_items(night: Night) -> Record:
    """Find lenders for what is new to training, for what is new to the night, and for what is taken for new."""
    kinds = sorted({known for _, known in COUNTS.values()})
    parts = [*kinds, _STRANGERS]
    records = dict(zip(parts, for_each_part(parts, partial(_matcher, night), label="cold"), strict=True))
    return {
        "rows": night.record("catalog")["items"],
        "new_items": records[COUNTS["night"][1]]["borrowers"],
        "new_to_training": records[COUNTS["gate"][1]]["borrowers"],
        "taken_for_new": records[_STRANGERS]["borrowers"],
        "peak_memory_mb": peak_of(list(records.values())),
    }


def load_lending(night: Night, as_of: AsOf) -> Lending:
    """Of a finished `match_new_items`."""
    return _lending(night, night.lenders_path(COUNTS[as_of][1]))


def load_stranger_lending(night: Night) -> Lending | None:
    """The same to known items that are taken for new ones; None where no item is new."""
    lending = _lending(night, night.stranger_lenders_path)
    return lending if lending.borrows.any() else None


def _lending(night: Night, path: str) -> Lending:
    return Lending(read_table(night.storage, path), night.record("catalog")["items"])


def _matcher(night: Night) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(night, night.encoder_id)
    vectors = unit_rows(text_vectors)
    texts = read_table(night.storage, night.catalog_path, ["text"])["text"].to_pylist()

    def known_to(kind: CountsOf) -> npt.NDArray[np.bool_]:
        counts = read_table(night.storage, night.item_counts_path(kind))
        return np.asarray(item_popularity(counts, item_ids) > 0)

    def match(part: str) -> Record:
        if part == _STRANGERS:
            known, path = known_to(COUNTS["validation"][1]), night.stranger_lenders_path
            nothing_new = known.all()  # then nobody need tell new items apart
            borrows = np.zeros_like(known) if nothing_new else strangers(known, night.config.seed)
        else:
            kind = cast(CountsOf, part)
            known, path = known_to(kind), night.lenders_path(kind)
            borrows = ~known
        write_table(night.storage, path, find_lenders(vectors, texts, borrows, known), LENDERS)
        return {"borrowers": int(borrows.sum())}

    return match
