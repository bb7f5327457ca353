"""Lists of item ids that a user gives: in the config, or in a text file with one id a line."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.values.ids import normal_id
from recsys.errors import ConfigError
from recsys.ranking.order import Bools
from recsys.storage.addresses import input_bytes

#: Unknown ids that a warning names.
_NUM_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIds:
    """Which items of a catalog a list of ids names."""

    listed: Bools
    """[I]."""
    num_unknown: int
    """Distinct ids that the catalog does not have."""
    warnings: tuple[str, ...]


def read_id_file(path: str, key: str) -> list[str]:
    """Item ids of a text file, local or `s3://`.

    Args:
        path: The file.
        key: The config key that names it, for errors.

    Raises:
        ConfigError: it is not UTF-8, or cannot be read.
    """
    return decode_id_lines(input_bytes(path), key)


def decode_id_lines(content: bytes, key: str) -> list[str]:
    """Item ids, one a line: blanks around an id are cut, empty lines skipped, repeated ids dropped.

    Args:
        content: UTF-8 text.
        key: The config key that names the file, for errors.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key}: must be UTF-8 text with one item id a line; byte {error.start} is not") from error
    return list(dict.fromkeys(line.strip() for line in text.split("\n") if line.strip()))


def find_ids(catalog: pa.Table, ids: Sequence[str], purpose: str) -> FoundIds:
    """Look ids up in a CATALOG, as the night spells them.

    A warning names unknown ones; `purpose` is its verb, `block` or `allow`.
    """
    item_ids = catalog["item_id"].combine_chunks()
    wanted = pa.array(list(dict.fromkeys(map(normal_id, ids))), pa.string())
    unknown = wanted.filter(pc.invert(pc.is_in(wanted, value_set=item_ids)))
    warnings: tuple[str, ...] = ()
    if len(unknown):
        named = ", ".join(unknown.slice(0, _NUM_NAMED).to_pylist()) + (" …" if len(unknown) > _NUM_NAMED else "")
        warnings = (f"rerank: {len(unknown)} of the {len(wanted)} ids to {purpose} are not in the catalog: {named}",)
    listed = np.asarray(pc.is_in(item_ids, value_set=wanted), dtype=bool)
    return FoundIds(listed=listed, num_unknown=len(unknown), warnings=warnings)
