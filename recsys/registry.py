"""Things of one kind by name: signals, rules, metrics, input formats; a new one is one file and one line.

After the extension points of `xai-org/x-algorithm` and LensKit's components: the code that uses a kind goes through its
registry and never names a member.
"""

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from recsys.errors import ConfigError


class Named(Protocol):
    """What can be registered."""

    @property
    def name(self) -> str:
        """Its name in configs, tables and messages."""


Thing = TypeVar("Thing", bound=Named)


class Registry(Generic[Thing]):
    """Things of one kind, in the order in which they were registered."""

    def __init__(self, kind: str) -> None:
        """``kind`` is the word for one of them, as error messages say it."""
        self.kind = kind
        self._things: dict[str, Thing] = {}

    def register(self, thing: Thing) -> Thing:
        """Add a thing and return it. The same thing twice is no error, since a plugin may be imported twice.

        Raises:
            ConfigError: another thing has this name, or it is a class and no instance.
        """
        if isinstance(thing, type):
            raise ConfigError(f"{self.kind} {thing.name!r}: register an instance, {thing.__name__}(), not the class")
        known = self._things.setdefault(thing.name, thing)
        if type(known) is not type(thing):
            raise ConfigError(f"{self.kind} {thing.name!r} is registered twice: choose another name for the plugin's")
        return thing

    def __getitem__(self, name: str) -> Thing:
        """The thing of this name.

        Raises:
            ConfigError: there is none.
        """
        if name not in self._things:
            raise ConfigError(f"{self.kind} {name!r} is not known; known: {', '.join(self._things)}")
        return self._things[name]

    def __contains__(self, name: str) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things.values())

    def __len__(self) -> int:
        return len(self._things)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the registry."""
        return tuple(self._things)
