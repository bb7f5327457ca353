"""Decodes a keys file: a YAML list with one line for each key, which is given by its sha256.

    - {name: shop, sha256: "9f86d081…"}
    - {name: search, sha256: "60303ae2…", rate_limit: {requests_per_second: 50, burst: 100}}

No error message quotes a value that may be a key, because people do write the key itself into the wrong place.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, Field, TypeAdapter
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from recsys.config.section import Section
from recsys.errors import ConfigError
from recsys.serving.rate_limit import RateLimit

MAKE_ONE = "make one with: recsys serve --config CONFIG --new-key NAME"

# Shorter than a key, so that a key in the place of a name is refused and not quoted.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$")]


class KeyEntry(Section):
    """One line of a keys file."""

    name: Name
    """The name of the caller, for logs; letters, digits, `.`, `_`, `-`, at most 40."""
    # A fast hash is right: a key has 256 random bits, so nobody can guess it. Passwords need a slow hash, keys do not.
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
    """sha256 of the key's text, 64 hex digits, in quotes."""
    rate_limit: RateLimit | None = None
    """The rate limit of this key; null: no limit."""


_NAME: TypeAdapter[str] = TypeAdapter(Name)

_WANTED = {
    "name": "must be 1 to 40 letters, digits, '.', '_' or '-', the first a letter or a digit",
    "sha256": f"must be the sha256 of the key, 64 hex digits in quotes; {MAKE_ONE}",
    "rate_limit": "must be a mapping of requests_per_second and burst",
}


def key_line(name: str, sha256: str) -> str:
    """The line of a keys file for one key.

    Raises:
        ConfigError: the name is not valid.
    """
    try:
        _NAME.validate_python(name)
    except pydantic.ValidationError:
        raise ConfigError(f"name of a key: {_WANTED['name']}") from None
    return "- " + json.dumps({"name": name, "sha256": sha256})


def decode_keys(text: str, origin: str) -> tuple[KeyEntry, ...]:
    """The entries of a YAML list; ``origin`` names the list in errors.

    An empty list is valid, so that all keys can be withdrawn. A blank text is refused: the file may be half written.

    Raises:
        ConfigError: the text is not such a list, or an entry is wrong or is there twice.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, LookupError, RecursionError) as error:  # a tag of a wrong value: LookupError
        # the parser's own message quotes the text, so it is not used
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigError(f"{origin}{line}: is not valid YAML; write one line for each key, {MAKE_ONE}") from None
    if not isinstance(raw, list):
        found = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(
            f"{origin}: must be a YAML list of keys, got {found}; write one line for each key, {MAKE_ONE}"
        )
    entries = tuple(_entry(value, f"{origin}: entry {number}") for number, value in enumerate(raw, 1))
    require_distinct(entries, origin)
    return entries


def _entry(raw: Any, origin: str) -> KeyEntry:
    try:
        return KeyEntry.model_validate(raw)
    except pydantic.ValidationError as error:
        faults = error.errors()
    name = raw.get("name") if isinstance(raw, dict) else None
    if name is not None and not any(fault["loc"] == ("name",) for fault in faults):
        origin += f" ({name})"
    raise ConfigError("\n".join(f"{origin}: {_explain(fault)}" for fault in faults))


def _explain(fault: Any) -> str:
    """What is expected. Of the value only a number of a rate limit is quoted; even the name of a field may be a key."""
    *parents, field = [str(part) for part in fault["loc"]] or [""]
    section = RateLimit if parents else KeyEntry
    known = ", ".join(section.model_fields)
    if not field:
        return f"must be a mapping of {known}"
    if fault["type"] == "extra_forbidden":
        return f"{''.join(f'{parent}: ' for parent in parents)}unknown field (not shown); known here: {known}"
    path = ".".join([*parents, field])
    if fault["type"] == "missing":
        return f"{path}: is required; {_WANTED.get(field, '')}".rstrip("; ")
    wanted = fault["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    got = f", got {fault['input']}" if parents and isinstance(fault["input"], int | float) else ""
    return f"{path}: {_WANTED.get(path) or f'must be {wanted}'}{got}"


def require_distinct(entries: Iterable[KeyEntry], origin: str) -> None:
    """Raise ConfigError where a name or a key is there twice."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for entry in entries:
        if entry.name in names:
            raise ConfigError(
                f"{origin}: the name {entry.name} is there twice; give each key its own name, such as {entry.name}-2"
            )
        if entry.sha256 in owners:
            raise ConfigError(
                f"{origin}: {owners[entry.sha256]} and {entry.name} have the same key; make a key for each"
            )
        names.add(entry.name)
        owners[entry.sha256] = entry.name
