"""Reading a config: YAML, overrides of the command line, variables of the environment."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from recsys.config.messages import explain
from recsys.errors import ConfigError

_Settings = TypeVar("_Settings", bound=BaseModel)


def load_settings(
    model: type[_Settings], path: str | Path, overrides: Sequence[str] = (), date: str | None = None
) -> _Settings:
    """Read a YAML config; `overrides` are `key.path=value` with YAML values, `date` wins over both.

    `${NAME}` and `${NAME:-default}` inside a text stand for environment variables, and `$${` for `${`. Relative local
    paths are taken from the working directory.

    Raises:
        ConfigError: the file is missing, not YAML, or a key is unknown, missing, of a wrong type or out of range.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path}: cannot be read: {error}") from error
    raw = parse_yaml(text, f"config {path}")
    if not isinstance(raw, dict):
        raise ConfigError(f"config {path}: must be a mapping of keys, got {type(raw).__name__}")
    for override in overrides:
        override_key(raw, override)
    if date is not None:
        raw["date"] = date
    return decode_settings(model, raw)


def decode_settings(model: type[_Settings], raw: Mapping[str, Any]) -> _Settings:
    """Validate a mapping; raises ConfigError that names the full path of every fault."""
    try:
        return model.model_validate(interpolate(raw))
    except pydantic.ValidationError as error:
        raise ConfigError("\n".join(explain(fault, model) for fault in error.errors())) from error


def parse_yaml(text: str, origin: str) -> Any:
    """The values of a YAML text.

    Raises:
        ConfigError: it is not YAML; the message begins with `origin`.
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)
        without_variables(value)  # it goes through all values
    except RecursionError as error:
        raise ConfigError(f"{origin}: an alias (*name) contains itself; write its values out") from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{origin}: is not valid YAML: {error}") from error
    return value


def override_key(raw: dict[str, Any], override: str) -> None:
    """Set one key of a mapping as `--set key.path=value` does; the value is YAML.

    Raises:
        ConfigError: it does not look like that, or a part of the path is a value.
    """
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override}: must look like recommend.top_k=20")
    *parents, leaf = key.split(".")
    section = raw
    for parent in parents:
        if section.get(parent) is None:  # an optional section that is off
            section[parent] = {}
        child = section[parent]
        if not isinstance(child, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a section")
        section = child
    try:
        section[leaf] = parse_yaml(value, f"--set {override}")
    except ConfigError as error:
        quoted = json.dumps(value, ensure_ascii=False).replace("'", "'\\''")
        raise ConfigError(f"{error}\nA text with such signs needs quotes: --set '{key}={quoted}'") from error


_VARIABLE = re.compile(r"\$(?P<escaped>\$\{)|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def without_variables(value: Any) -> Any:
    """The value in which `${` of every text is written as `$${`, so that it is read again as it is."""
    if isinstance(value, Mapping):
        return {key: without_variables(child) for key, child in value.items()}
    if isinstance(value, list):
        return [without_variables(child) for child in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def interpolate(value: Any, path: str = "") -> Any:
    """The value in which variables of the environment in texts are replaced, see `load_settings`; `path` is its key.

    Raises:
        ConfigError: a variable is not set.
    """
    if isinstance(value, Mapping):
        return {key: interpolate(child, f"{path}.{key}".lstrip(".")) for key, child in value.items()}
    if isinstance(value, list):
        return [interpolate(child, f"{path}[{index}]") for index, child in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return match["escaped"]
        name = match["name"]
        found = os.environ.get(name) or match["default"]
        if found is None:
            raise ConfigError(
                f"{path}: environment variable {name} is not set; set it or write ${{{name}:-default}}; for a dollar "
                f"sign before {{{name}}} write $${{{name}}}"
            )
        return found

    return _VARIABLE.sub(replace, value)
