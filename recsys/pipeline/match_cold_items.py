"""The donors of the cold items of each data view, and of simulated cold items."""

from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt

from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.encode_texts import read_text_vectors
from recsys.pipeline.records import MatchedColdItems
from recsys.pipeline.run import COUNTS_OF_VIEW, CountedDays, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG
from recsys.ranking.long_tail import item_popularity
from recsys.schema import DONORS
from recsys.signals.donors import Donors, find_donors, simulated_cold_items
from recsys.signals.products import unit_rows
from recsys.signals.signal import DataView
from recsys.storage.tables import read_table, write_table

_SIMULATED = "simulated"


def match_cold_items(run: Run) -> MatchedColdItems:
    """Find donors for items that training has not seen, for items that nobody took, and for simulated cold items."""
    days = sorted({known for _, known in COUNTS_OF_VIEW.values()})
    parts = [*days, _SIMULATED]
    records = dict(zip(parts, for_each_part(parts, partial(_matcher, run), label="match cold items"), strict=True))
    return MatchedColdItems(
        rows=run.record(INGEST_CATALOG).items,
        cold_items=records[COUNTS_OF_VIEW["full"][1]]["cold"],
        cold_in_training=records[COUNTS_OF_VIEW["test"][1]]["cold"],
        simulated=records[_SIMULATED]["cold"],
        peak_memory_mb=peak_of(list(records.values())),
    )


def read_donors(run: Run, view: DataView) -> Donors:
    """The donors of the items that are cold in a view."""
    return Donors(read_table(run.storage, _path(run, COUNTS_OF_VIEW[view][1])), run.record(INGEST_CATALOG).items)


def read_simulated_donors(run: Run) -> Donors | None:
    """The donors of simulated cold items; None where no item of the catalog is cold."""
    table = read_table(run.storage, _path(run, _SIMULATED))
    return Donors(table, run.record(INGEST_CATALOG).items, simulated=True) if len(table) else None


def _path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/donors/{part}.parquet"


def _matcher(run: Run) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(run, run.encoder_id)
    vectors = unit_rows(text_vectors)
    texts = read_table(run.storage, run.catalog_path, ["text"])["text"].to_pylist()

    def known_on(days: CountedDays) -> npt.NDArray[np.bool_]:
        counts = read_table(run.storage, run.item_counts_path(days))
        return np.asarray(item_popularity(counts, item_ids) > 0)

    def match(part: str) -> Record:
        if part == _SIMULATED:
            known = known_on(COUNTS_OF_VIEW["validation"][1])
            # where no item is cold, no weights for cold items are needed
            is_cold = np.zeros_like(known) if known.all() else simulated_cold_items(known, run.config.seed)
        else:
            known = known_on(cast(CountedDays, part))
            is_cold = ~known
        write_table(run.storage, _path(run, part), find_donors(vectors, texts, is_cold, known), DONORS)
        return {"cold": int(is_cold.sum())}

    return match
