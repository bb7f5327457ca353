"""The rule that removes items which are no longer valid. Shapes: I items."""

import datetime as dt

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from recsys.data.times.moments import MICROS_PER_DAY
from recsys.ranking.config import RerankConfig
from recsys.ranking.rules.attributes import needed_attribute
from recsys.ranking.rules.rule import ItemCheck, ItemRule

#: What no date says: the item is valid for ever.
FOR_EVER = np.iinfo(np.int64).max
#: How a date or a time begins. A month or a year alone is none: nobody can tell on which day the item ends.
_DAY = r"(?:\d{4}-\d{1,2}-\d{1,2}|\d{8})"


class Expiry(ItemRule[RerankConfig]):
    """Removes the items that are not valid through the day on which the lists are shown, by `rerank.expiry`."""

    name = "expired"
    summary = "Items that are no longer valid on the day on which the lists are shown are not recommended."
    settings = RerankConfig

    def check(self, settings: RerankConfig, catalog: pa.Table) -> ItemCheck:  # noqa: ARG002 - no day, nothing expires
        """Without a day, every item passes."""
        return ItemCheck(passes=np.ones(len(catalog), dtype=bool))

    def check_on(self, settings: RerankConfig, catalog: pa.Table, shown_on: dt.date) -> ItemCheck:
        """See `ItemRule.check_on`. An item without a date, or with a text that is none, never expires."""
        if settings.expiry is None:
            return self.check(settings, catalog)
        ends, num_unreadable = expiry_times(catalog, settings.expiry)
        end_of_day = dt.datetime.combine(shown_on + dt.timedelta(days=1), dt.time(), dt.UTC)
        warning = f"rerank.expiry: {num_unreadable} items have a text in {settings.expiry!r} that is no date"
        return ItemCheck(
            passes=ends >= int(end_of_day.timestamp()) * 1_000_000,
            blame=f"rerank.expiry={settings.expiry} removes",
            counts={"unreadable_expiry": num_unreadable},
            warnings=(f"{warning}; write dates like 2026-12-24",) if num_unreadable else (),
        )


def expiry_times(catalog: pa.Table, attribute: str) -> tuple[npt.NDArray[np.int64], int]:
    """When each item ends to be valid, and how many have a text that is no date.

    Args:
        catalog: CATALOG of I items with `attributes`.
        attribute: Holds dates or times in ISO 8601, in UTC where they have no zone. A date alone counts to its end.

    Returns:
        [I] microseconds since 1970, `FOR_EVER` where nothing is known.

    Raises:
        ConfigError: no item has the attribute.
    """
    texts = needed_attribute(catalog, attribute).to_pandas().str.strip()
    dated = texts.where(texts.str.match(rf"{_DAY}(?!\d)", na=False))  # pandas also reads `2026` and `now`
    times = pd.to_datetime(dated, format="ISO8601", utc=True, errors="coerce")
    whole_days = texts.str.fullmatch(_DAY, na=False).to_numpy(dtype=bool)
    known = times.notna().to_numpy()
    ends = np.full(len(texts), FOR_EVER)
    moments = times.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)
    ends[known] = moments[known] + np.where(whole_days[known], MICROS_PER_DAY, 0)
    return ends, int((texts.notna().to_numpy() & (texts != "").to_numpy() & ~known).sum())
