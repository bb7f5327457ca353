"""What a snapshot is told of the catalog; the lists are in the tests of `recsys.ranking` and of the jobs."""

import pyarrow as pa

from recsys.pipeline.scoring.load_snapshot import _titles
from recsys.schema import CATALOG


def test_an_item_without_a_title_is_called_by_its_id() -> None:
    rows = [("a", {"title": "Pen"}), ("b", {"kind": "cup"}), ("c", {}), ("d", {"title": "Big Cup"})]
    catalog = pa.Table.from_pylist(
        [
            {"item_id": item, "text": item, "available": True, "attributes": attributes, "text_hash": item}
            for item, attributes in rows
        ],
        CATALOG,
    )
    for table in (catalog, pa.concat_tables([catalog.slice(0, 1), catalog.slice(1)]), catalog.slice(0, 4)):
        assert _titles(table).to_pylist() == ["Pen", "b", "c", "Big Cup"]
