"""All signals, in the order of their numbers; a new signal is one file and one line here, or a plugin."""

from collections.abc import Iterable
from typing import Any

from recsys.errors import ConfigError
from recsys.registry import Registry
from recsys.signals.ease import Ease
from recsys.signals.lm import LmSignal
from recsys.signals.popularity import Popularity
from recsys.signals.repeat import Repeat
from recsys.signals.retrieval import RankerSignal
from recsys.signals.signal import Signal
from recsys.signals.text import Text
from recsys.signals.transitions import Transitions

#: What the trees of the fusion call the length of a user's history, which they read beside the numbers.
HISTORY_LENGTH = "length"


class _Signals(Registry[Signal]):
    def register(self, thing: Signal) -> Signal:
        """As `Registry.register`. Weights are kept by the names of numbers, so no two numbers may share one.

        Raises:
            ConfigError: another signal has the name or a number's name, or a number has the name `HISTORY_LENGTH`.
        """
        if HISTORY_LENGTH in thing.columns:
            raise ConfigError(
                f"signal {thing.name!r}: {HISTORY_LENGTH!r} is the length of the history: rename its number"
            )
        for other in self:
            if other.name != thing.name and (shared := sorted(other.columns.keys() & thing.columns.keys())):
                raise ConfigError(
                    f"signal {thing.name!r}: its number {shared[0]!r} has the name of a number of the signal "
                    f"{other.name!r}: choose another name for the plugin's"
                )
        return super().register(thing)


SIGNALS: Registry[Signal] = _Signals("signal")
SIGNALS.register(RankerSignal())
SIGNALS.register(Transitions())
SIGNALS.register(Ease())
SIGNALS.register(Text())
SIGNALS.register(Popularity())
SIGNALS.register(Repeat())
SIGNALS.register(LmSignal())


def signals_of(config: Any) -> tuple[Signal, ...]:
    """The signals that a night of this config has: optional ones only where the config has their section."""
    usual = usual_signals()
    return tuple(each for each in SIGNALS if each in usual or getattr(config, each.section or "") is not None)


def usual_signals() -> tuple[Signal, ...]:
    """The signals that every night has."""
    return tuple(signal for signal in SIGNALS if not signal.optional)


def columns_of(signals: Iterable[Signal]) -> tuple[str, ...]:
    """Names of all numbers of some signals, in their order."""
    return tuple(column for signal in signals for column in signal.columns)


def chosen_columns(names: Iterable[str] | None) -> frozenset[str] | None:
    """The numbers that may weigh in the score, by names of signals or of numbers; None: all may.

    A signal stands for all of its numbers, also where one of them has its name, as `popularity` has.

    Raises:
        ConfigError: a name is neither.
    """
    if names is None:
        return None
    known = columns_of(SIGNALS)
    chosen: set[str] = set()
    for name in names:
        if name in SIGNALS:
            chosen.update(SIGNALS[name].columns)
        elif name in known:
            chosen.add(name)
        else:
            raise ConfigError(
                f"recommend.signals: {name!r} is neither a signal ({', '.join(SIGNALS.names)}) nor a number of one "
                f"({', '.join(known)})"
            )
    return frozenset(chosen)
