"""The data dictionary: the tables of `recsys/schema.py` with their columns, types and meanings."""

import inspect
import re

import pyarrow as pa
from markdown_table import cell, in_blocks, table

from recsys import schema
from recsys.column_meanings import MEANINGS

INTRO = """\
# Data dictionary

These are the tables that a night reads and writes. `recsys/schema.py` defines them, and the manifest of a night carries
the version of that file (`schema_version`). Columns are never null unless a sentence here says so.
"""

#: The tables that users read and write: heading, name in `recsys/schema.py`, where the table lies, what one row is.
PUBLIC = (
    (
        "Recommendations",
        "RECOMMENDATIONS",
        "`recommendations/run_date=…/run_id=…/shard-*.parquet`",
        "One item of a list.",
    ),
    (
        "Metrics",
        "METRICS",
        "`metrics/run_date=…/run_id=…/part-00000.parquet`",
        "One number that the night measured.",
    ),
    (
        "Item report",
        "ITEM_REPORT",
        "`item_report/run_date=…/run_id=…/part-00000.parquet`",
        "One item of the catalog.",
    ),
    (
        "Realized results",
        "REALIZED",
        "`realized/realized.parquet`, which `jobs/evaluate.py --realized` writes",
        "One number of a past night.",
    ),
    (
        "Similar items",
        "SIMILAR_ITEMS",
        "`similar_items/run_date=…/run_id=…/shard-*.parquet`, where `similar_items.publish` is set",
        "One of the items that go with an item.",
    ),
    ("Interactions", "INTERACTIONS", "the events after cleaning", "One event."),
    ("Catalog", "CATALOG", "`runs/<run_id>/catalog.parquet`", "One item."),
    (
        "Histories",
        "HISTORIES",
        "`histories/<run_id>/shard-*.parquet`",
        "One user. The lists of one row are parallel, oldest first.",
    ),
    (
        "Item texts",
        "ITEM_TEXTS",
        "`runs/<run_id>/item_texts.parquet`, where `enrich` writes texts about items",
        "One item of the catalog.",
    ),
    (
        "User profiles",
        "USER_PROFILES",
        "`runs/<run_id>/user_profiles/shard-*.parquet`, where `enrich` writes profiles",
        "One user with a profile.",
    ),
    ("Profiles", "PROFILES", "`runs/<run_id>/profiles`, where `inputs.users` is set", "One user."),
    ("Quarantine", "QUARANTINE", "`runs/<run_id>/quarantine/*.parquet`", "One refused row of an input."),
)


def page() -> str:
    """Markdown: the public tables with their columns, then the tables between two stages."""
    parts = [INTRO]
    for heading, name, path, row in PUBLIC:
        parts.append(f"\n## {heading}\n\n{row} Path: {path}.\n\n{_columns(name, getattr(schema, name))}")
    parts.append("\n## Vectors\n\n`text_vectors`: the vectors that one encoder made of texts, below `items/`.\n\n")
    parts.append(_columns("", schema.text_vectors(128)).replace("[128]", "[dim]"))
    parts.append(
        "\n## Tables between stages\n\nThese tables are kept with a run. Their columns may change in any version.\n\n"
    )
    comments = _comments()
    known = {name for _, name, _, _ in PUBLIC}
    rows = [
        (
            f"`{name}`",
            cell(comments.get(name, "")),
            ", ".join(f"`{field.name}`: {_type(field.type)}" for field in value),
        )
        for name, value in vars(schema).items()
        if isinstance(value, pa.Schema) and name not in known
    ]
    parts.append(in_blocks(table(("table", "what it holds", "columns"), rows), "blocks"))
    return "".join(parts)


def _columns(name: str, columns: pa.Schema) -> str:
    meanings = MEANINGS
    rows = [
        (f"`{field.name}`", _type(field.type), cell(meanings.get(f"{name}.{field.name}") or meanings[field.name]))
        for field in columns
    ]
    return table(("column", "type", "meaning"), rows)


def _type(kind: pa.DataType) -> str:
    """A type as the contract writes it."""
    if pa.types.is_fixed_size_list(kind):
        return f"{_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type)} to {_type(kind.item_type)}"
    return {"float": "float32", "double": "float64", "timestamp[us, tz=UTC]": "timestamp (µs, UTC)"}.get(
        str(kind), str(kind)
    )


def _comments() -> dict[str, str]:
    """The `#:` comment in front of each name of the schema file."""
    found = re.findall(r"((?:^#:.*\n)+)^(\w+) = ", inspect.getsource(schema), re.MULTILINE)
    return {name: re.sub(r"^#: ?", "", text, flags=re.MULTILINE) for text, name in found}
