"""Build the catalog: one row for each item, from the latest value of each column."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.checks.quarantine import Reason
from recsys.data.checks.row_checks import flags
from recsys.data.config import ItemsInput
from recsys.data.values.cells import as_boolean, one_chunk
from recsys.data.values.large_texts import small_slices
from recsys.data.values.markup import without_markup
from recsys.data.values.templates import filled_template, template_columns
from recsys.data.values.texts import clean_text, hash_texts
from recsys.data.versions import VersionSpec
from recsys.schema import CATALOG

_KEY = "inputs.items"


def item_version_spec(spec: ItemsInput) -> VersionSpec:
    """Which columns the catalog needs from the rows of the items.

    Raises:
        ConfigError: `text` is not a template.
    """
    available = [spec.columns.available] if spec.columns.available is not None else []
    return VersionSpec(
        key=_KEY,
        source=spec,
        id_name="item_id",
        id_column=spec.columns.item_id,
        missing=Reason.MISSING_ITEM,
        timestamp=spec.columns.timestamp,
        values={
            f"{_KEY}.text": template_columns(spec.text),
            f"{_KEY}.columns.title": [_title_column(spec)],
            f"{_KEY}.attributes": _attribute_columns(spec),
            f"{_KEY}.columns.available": available,
        },
        boolean=spec.columns.available,
    )


def build_catalog(merged: pa.Table, spec: ItemsInput) -> pa.Table:
    """CATALOG of merged versions, sorted by item_id. An item whose columns say nothing has an empty text.

    Values are without HTML (`recsys.data.values.markup`), NFC, without control characters, and with single blanks. The
    text is cut to `max_text_chars`. Attributes are the non-empty values of the columns in `attributes` (by default
    those of the template), and `title` is what people see.
    """
    return pa.concat_tables(_build_slice(part, spec) for part in small_slices(merged))


def _build_slice(merged: pa.Table, spec: ItemsInput) -> pa.Table:
    num_items = merged.num_rows
    columns = item_version_spec(spec).columns
    values = {column: clean_text(without_markup(merged[f"value:{column}"])) for column in columns}
    texts = filled_template(spec.text, f"{_KEY}.text", values, num_items, spec.max_text_chars)
    available = pa.repeat(True, num_items)
    if spec.columns.available is not None:
        available = pc.fill_null(as_boolean(values[spec.columns.available]), True)
    shown = {"title": values[_title_column(spec)]}
    shown |= {column: values[column] for column in _attribute_columns(spec) if column != "title"}
    return pa.table([merged["item_id"], texts, available, _map_of(shown, num_items), hash_texts(texts)], schema=CATALOG)


def _title_column(spec: ItemsInput) -> str:
    return spec.columns.title or template_columns(spec.text)[0]


def _attribute_columns(spec: ItemsInput) -> list[str]:
    return template_columns(spec.text) if spec.attributes is None else spec.attributes


def _map_of(columns: dict[str, Any], num_items: int) -> pa.Array:
    """map<string, string> [I] of the non-empty values."""
    present = np.stack([flags(pc.not_equal(values, "")) for values in columns.values()], axis=1)
    places = np.arange(num_items)[:, None] + num_items * np.arange(len(columns))[None, :]
    chosen = pa.array(places[present])
    everything = pa.concat_arrays([one_chunk(values) for values in columns.values()])
    keys = pa.array(list(columns)).take(pa.array(np.nonzero(present)[1]))
    offsets = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, everything.take(chosen))
