"""The cold stage: who lends to items without interactions; the lending itself is in `recsys.recommend.cold`."""

from collections.abc import Callable
from functools import partial
from typing import cast

from recsys.distributed.cluster import for_each_part, peak_of
from recsys.distributed.encode import read_text_vectors
from recsys.distributed.night import COUNTS, AsOf, CountsOf, Night, Record
from recsys.recommend.cold import Lending, find_lenders
from recsys.recommend.retrieve import unit_rows
from recsys.recommend.tail import item_popularity
from recsys.schema import LENDERS
from recsys.storage.tables import read_table, write_table


def match_new_items(night: Night) -> Record:
    """Find lenders for what is new to training, and for what is new to the night."""
    kinds = sorted({known for _, known in COUNTS.values()})
    records = dict(zip(kinds, for_each_part(kinds, partial(_matcher, night), label="cold"), strict=True))
    return {
        "rows": night.record("catalog")["items"],
        "new_items": records[COUNTS["night"][1]]["new_items"],
        "new_to_training": records[COUNTS["gate"][1]]["new_items"],
        "peak_memory_mb": peak_of(list(records.values())),
    }


def load_lending(night: Night, as_of: AsOf) -> Lending:
    """Of a finished `match_new_items`."""
    lenders = read_table(night.storage, night.lenders_path(COUNTS[as_of][1]))
    return Lending(lenders, night.record("catalog")["items"])


def _matcher(night: Night) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(night, night.encoder_id)
    vectors = unit_rows(text_vectors)
    texts = read_table(night.storage, night.catalog_path, ["text"])["text"].to_pylist()

    def match(part: str) -> Record:
        kind = cast(CountsOf, part)
        cold = item_popularity(read_table(night.storage, night.item_counts_path(kind)), item_ids) == 0
        write_table(night.storage, night.lenders_path(kind), find_lenders(vectors, texts, cold), LENDERS)
        return {"new_items": int(cold.sum())}

    return match
