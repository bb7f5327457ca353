"""The cold stage: who lends to items without interactions; the lending itself is in `recsys.signals.donors`."""

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt

from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.encode_texts import read_text_vectors
from recsys.pipeline.records import ColdItems
from recsys.pipeline.run import COUNTS_OF_VIEW, CountedDays, DataView, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.ranking.item_popularity import item_popularity
from recsys.schema import LENDERS
from recsys.signals.donors import Lending, find_lenders, strangers
from recsys.signals.retrieve import unit_rows
from recsys.storage.tables import read_table, write_table

_STRANGERS = "strangers"


def match_new_items(run: Run) -> ColdItems:
    """Find lenders for what is new to training, for what is new to the night, and for what is taken for new."""
    kinds = sorted({known for _, known in COUNTS_OF_VIEW.values()})
    parts = [*kinds, _STRANGERS]
    records = dict(zip(parts, for_each_part(parts, partial(_matcher, run), label="cold"), strict=True))
    return ColdItems(
        rows=run.record(INGEST_CATALOG).items,
        new_items=records[COUNTS_OF_VIEW["full"][1]]["borrowers"],
        new_to_training=records[COUNTS_OF_VIEW["test"][1]]["borrowers"],
        taken_for_new=records[_STRANGERS]["borrowers"],
        peak_memory_mb=peak_of(list(records.values())),
    )


def load_lending(run: Run, view: DataView) -> Lending:
    """Of a finished `match_new_items`."""
    return _lending(run, run.lenders_path(COUNTS_OF_VIEW[view][1]))


def load_stranger_lending(run: Run) -> Lending | None:
    """The same to known items that are taken for new ones; None where no item is new."""
    lending = _lending(run, run.stranger_lenders_path)
    return lending if lending.borrows.any() else None


def _lending(run: Run, path: str) -> Lending:
    return Lending(read_table(run.storage, path), run.record(INGEST_CATALOG).items)


def _matcher(run: Run) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(run, run.encoder_id)
    vectors = unit_rows(text_vectors)
    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()

    def known_to(kind: CountedDays) -> npt.NDArray[np.bool_]:
        counts = read_table(run.storage, run.item_counts_path(kind))
        return np.asarray(item_popularity(counts, item_ids) > 0)

    def match(part: str) -> Record:
        if part == _STRANGERS:
            known, path = known_to(COUNTS_OF_VIEW["validation"][1]), run.stranger_lenders_path
            nothing_new = known.all()  # then nobody need tell new items apart
            borrows = np.zeros_like(known) if nothing_new else strangers(known, run.config.seed)
        else:
            kind = cast(CountedDays, part)
            known, path = known_to(kind), run.lenders_path(kind)
            borrows = ~known
        write_table(run.storage, path, find_lenders(vectors, texts, borrows, known), LENDERS)
        return {"borrowers": int(borrows.sum())}

    return match
