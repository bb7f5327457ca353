"""What changed in the config from one night to the next."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Keys that differ in every night, or that name the place and not the night.
_LEFT_OUT = ("date",)
#: User and password of an address. A password may hold an `@`.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """One key; an empty text stands for a key that the config does not have."""

    key: str
    before: str
    now: str


def flat_config(config: Mapping[str, Any]) -> dict[str, str]:
    """The values of a config by their full path, as text.

    >>> flat_config({"recommend": {"top_k": 20, "rules": ["mmr"]}})
    {'recommend.top_k': '20', 'recommend.rules': '["mmr"]'}
    """
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= {f"{key}.{inner}": text for inner, text in flat_config(value).items()}
        else:
            found[str(key)] = without_credentials(
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            )
    return found


def config_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[ConfigChange]:
    """The keys whose values differ, by name.

    >>> config_changes({"seed": 0, "gate": {"days": 7}}, {"seed": 1, "gate": {"days": 7}})
    [ConfigChange(key='seed', before='0', now='1')]
    """
    old, new = flat_config(before), flat_config(now)
    return [
        ConfigChange(key=key, before=old.get(key, ""), now=new.get(key, ""))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in _LEFT_OUT
    ]


def without_credentials(value: str) -> str:
    """The text without users and passwords in addresses.

    >>> without_credentials("https://me:secret@example.org/x")
    'https://example.org/x'
    """
    return _CREDENTIALS.sub("", value)
