"""Compiles Python loops to machine code, where numpy would read the same numbers several times.

Numba needs no compiler on the machine, releases the GIL, and follows new versions of CPython and numpy.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., object])

#: What the compiler may change: the order of sums, and one rounding for a product with a sum.
_FASTMATH = {"reassoc", "contract"}


def compiled(function: _Function) -> _Function:
    """Compile a function of arrays and numbers at its first call, and keep the machine code for later processes.

    It is kept until the function's file changes. Where it calls compiled functions of another file, the file names that
    one with a digest (tests/test_compiled.py).

    Sums may be added in another order than in the source, but always in the same order: a result depends only on the
    arguments.
    """
    return _compiled(function, _FASTMATH)


def compiled_in_order(function: _Function) -> _Function:
    """The same, but sums are added in the order of the source, and each product is rounded before it is added."""
    return _compiled(function, set())


def _compiled(function: _Function, fastmath: set[str]) -> _Function:
    try:
        return cast(_Function, numba.njit(nogil=True, fastmath=fastmath, cache=True)(function))
    except RuntimeError:  # there is no writable folder: each process compiles again
        return cast(_Function, numba.njit(nogil=True, fastmath=fastmath)(function))
