"""The back ends that write texts: what each of them is, and its settings."""

import json

from config_page import kind
from markdown_table import cell, in_blocks, table

from recsys.enrichment.backends.registry import BACKENDS

INTRO = """\
# Back ends that write

`enrich.backend` names one of them, and `enrich.settings` has its settings.
[A language model that writes](../language-model-that-writes.md) says what they are for.
"""


def page() -> str:
    """Markdown: one section for each registered back end."""
    return INTRO + "".join(_section(backend.name) for backend in BACKENDS)


def _section(name: str) -> str:
    backend = BACKENDS[name]
    schema = backend.settings.model_json_schema()
    rows = [
        (
            f"`{key}`",
            "required" if key in schema.get("required", []) else f"`{json.dumps(field.get('default'))}`",
            kind(field),
            cell(field["description"]),
        )
        for key, field in schema["properties"].items()
    ]
    settings = in_blocks(table(("key of `enrich.settings`", "default", "type", "meaning"), rows), "stacked keys")
    return f"\n## `{name}`\n\n{cell(backend.summary)}\n\n{settings}"
