"""Writes the config reference in README.md out of the docstrings in recsys/config.py: `make docs`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recsys.settings import Config

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- config reference: begin (make docs) -->\n", "<!-- config reference: end -->"

_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def reference() -> str:
    """Markdown table of every key: its path, its default, what it may be, what it is."""
    schema = Config.model_json_schema()
    rows = ["| key | default | type | meaning |", "| --- | --- | --- | --- |"]
    rows += [f"| `{path}` | {default} | {kind} | {text} |" for path, default, kind, text in _keys(schema, schema, "")]
    return "\n".join(rows) + "\n"


def written(readme: str) -> str:
    """The README with the reference between its markers."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    assert begin, f"{README} lacks {BEGIN!r}"
    assert end, f"{README} lacks {END!r}"
    return head + BEGIN + reference() + END + tail


def _keys(schema: dict[str, Any], section: dict[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in section["properties"].items():
        path = f"{prefix}{name}"
        required = name in section.get("required", [])
        default = "required" if required else f"`{json.dumps(field.get('default'))}`"
        options = [field, *field.get("anyOf", [])]
        inner = next((option["$ref"] for option in options if "$ref" in option), None)
        if inner is None or "anyOf" in field:
            yield path, default, _kind(field), _cell(field["description"])
        if inner is not None:
            yield from _keys(schema, schema["$defs"][inner.rpartition("/")[2]], f"{path}.")


def _kind(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_kind(option) for option in field["anyOf"])
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field["type"] == "array":
        return f"list of {_kind(field['items'])}"
    if field["type"] == "object":
        values = field["additionalProperties"]
        return "section" if values is True else f"mapping of text to {_kind(values)}"
    name = {"string": "text", "boolean": "`true`, `false`", "null": "`null`"}.get(field["type"], field["type"])
    name = field.get("format", name)
    bounds = [f"{sign} {field[key]:.12g}" for key, sign in _BOUNDS.items() if key in field]
    return " ".join([name, ", ".join(bounds)]).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{README.name}: config reference written\n")
