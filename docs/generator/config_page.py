"""The config reference: every key with its default, its type and the docstring of its field."""

import json
from collections.abc import Iterator
from typing import Any

from markdown_table import cell, in_blocks, table

from recsys.settings import Config

INTRO = """\
# Config reference

A job reads one YAML file and checks it before anything starts. An unknown key, a wrong type or a value out of range
is an error that names the full path, for example `recommend.top_k: must be ≥ 1, got 0`. The job then ends with exit
code 2.

- `${NAME}` and `${NAME:-default}` inside a text stand for environment variables. Write `$${` for the signs `${`
  themselves, as in the template `Price: $${price}`.
- `--set recommend.top_k=5` on the command line overrides one key. `--set` may be repeated.
- Relative local paths start at the working directory of the job.
- A key that had another name in an older version is refused. The message says the new name.
"""

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}


def page() -> str:
    """Markdown: one table for each section of the config."""
    schema = Config.model_json_schema()
    return INTRO + "".join(_sections(schema, schema, "", "General", ""))


def _sections(
    schema: dict[str, Any], section: dict[str, Any], prefix: str, title: str, description: str
) -> Iterator[str]:
    """The table of a section's own keys, then its sections."""
    rows, inner = [], []
    for name, field in section["properties"].items():
        child = _section_of(schema, field)
        if child is None or "anyOf" in field:
            required = name in section.get("required", [])
            made = {"array": [], "object": {}}.get(field.get("type"))  # the schema does not say what a factory makes
            default = "required" if required else f"`{json.dumps(field.get('default', made))}`"
            rows.append((f"`{prefix}{name}`", default, kind(field), cell(field["description"])))
        if child is None and "$ref" in field.get("items", {}):
            inner.append((_section_of(schema, field["items"]), f"{prefix}{name}[]", field["description"]))
        if child is not None:
            inner.append((child, f"{prefix}{name}", field.get("description", child.get("description", ""))))
    if rows:
        yield f"\n## {title}\n\n"
        yield f"{cell(description)}\n\n" if description else ""
        yield in_blocks(table(("key", "default", "type", "meaning"), rows), "stacked keys")
    for child, path, text in inner:
        yield from _sections(schema, child, f"{path}.", f"`{path}`", text)


def _section_of(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any] | None:
    """The section that a field holds, or None where it holds a value."""
    for option in (field, *field.get("anyOf", [])):
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rpartition("/")[2]]
            return found if "properties" in found else None
    return None


def kind(field: dict[str, Any]) -> str:
    """The type of a key in words."""
    if "anyOf" in field:
        return " or ".join(kind(option) for option in field["anyOf"])
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "array":
        return f"list of {kind(field['items'])}{'s' if '$ref' in field['items'] else ''}"
    if field["type"] == "object":
        values = field["additionalProperties"]
        return "section" if values is True else f"mapping of text to {kind(values)}"
    name = field.get("format", _TYPES.get(field["type"], field["type"]))
    bounds = [f"{sign} {field[key]:.12g}" for key, sign in _BOUNDS.items() if key in field]
    return " ".join([name, ", ".join(bounds)]).strip()
