"""Python loops as machine code, where numpy would pass over the same numbers again and again.

Numba was chosen since it needs no compiler on the machine, releases the lock and is kept up with CPython and numpy.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])

#: What the compiler may take as equal: sums in another order, a product and a sum rounded once.
_FASTMATH = {"reassoc", "contract"}


def compiled(function: _Function) -> _Function:
    """Compile a function of arrays and numbers when it is first called, and keep what was made for the next process.

    Sums may be added in another order than written, but always in the same one: a result hangs on its arguments alone.
    """
    try:
        return cast(_Function, numba.njit(nogil=True, fastmath=_FASTMATH, cache=True)(function))
    except RuntimeError:  # no folder that could be written to: each process compiles anew
        return cast(_Function, numba.njit(nogil=True, fastmath=_FASTMATH)(function))
