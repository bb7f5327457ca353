"""Decoding a config that is stored with a run: another release may have written it.

A user's own config is read strictly, see `recsys.config.loading`. Of a stored one, keys with old names are moved, and
keys that this release does not know are left out.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel

from recsys.config.messages import explain
from recsys.config.renamed import RENAMED
from recsys.errors import ConfigError

logger = logging.getLogger(__name__)

_Settings = TypeVar("_Settings", bound=BaseModel)


def decode_stored(model: type[_Settings], raw: Mapping[str, Any], where: str) -> _Settings:
    """Settings from plain values of any release.

    Args:
        model: What to decode.
        raw: Plain values, without variables of the environment.
        where: Their file, for messages.

    Raises:
        ConfigError: a value is missing, or is not allowed in this release; the message names each of them.
    """
    values = _renamed(raw)
    try:
        try:
            return model.model_validate(values)
        except pydantic.ValidationError as error:
            unknown = [fault["loc"] for fault in error.errors() if fault["type"] == "extra_forbidden"]
        for path in unknown:
            _remove(values, path)
        found = model.model_validate(values)
    except pydantic.ValidationError as error:
        faults = "\n".join(explain(fault, model) for fault in error.errors())
        raise ConfigError(
            f"{where}: another release wrote this config, and this release cannot use it:\n{faults}\nPublish a night "
            f"with this release, or install the release that wrote it"
        ) from error
    if unknown:
        names = ", ".join(sorted(".".join(map(str, path)) for path in unknown))
        logger.info(
            "%s: another release wrote this config; these keys are not known here and are left out: %s", where, names
        )
    return found


def _renamed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with the new names of keys. Where both names are there, the new one counts."""
    values = copy.deepcopy(dict(raw))
    for old, new in RENAMED.items():
        section, name = _section(values, old)
        if section is None or name not in section:
            continue
        value = section.pop(name)
        target, new_name = _section(values, new, make=True)
        if target is not None and value is not None:  # null was the default, and the default may have another form now
            target.setdefault(new_name, value)
    return values


def _section(values: dict[str, Any], path: str, *, make: bool = False) -> tuple[dict[str, Any] | None, str]:
    """The section that holds a key, and the key's name in it; None where the section is not there."""
    *parents, name = path.split(".")
    section: Any = values
    for parent in parents:
        section = section.setdefault(parent, {}) if make else section.get(parent)
        if not isinstance(section, dict):
            return None, name
    return section, name


def _remove(values: Any, path: Sequence[str | int]) -> None:
    """Delete a key. Parts of the path that are no keys name a type of pydantic's, and are left out."""
    *parents, name = path
    for parent in parents:
        if isinstance(values, list) if isinstance(parent, int) else isinstance(values, dict) and parent in values:
            values = values[parent]
    values.pop(name, None)
