"""The arrays that kernel and engine share, and how the kernel is compiled. Loading this loads numba."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_F = TypeVar("_F", bound=Callable[..., object])

# Machine code holds what it calls and every constant, yet numba's cache on disk notices changes only of the
# file that a function stands in. Names in the cache therefore carry a checksum of all files of the kernel.
_SOURCES: Final = sorted(Path(__file__).parent.glob("kernel*.py"))
_CHECKSUM: Final = zlib.crc32(b"".join(source.read_bytes() for source in _SOURCES))


class Arrays(NamedTuple):
    """Everything an engine is. `queue` is the ring of submitted requests, `stack` holds the preempted ones.

    `passed` is the stack of half-done prompts that more urgent ones have passed.

    `due` is the ring of lists of decoding requests by the iteration that finishes them; `completing` those
    whose prefill the iteration in flight completes; `edges` and `intervals` make the histogram of token
    intervals.
    """

    state: Ints
    joules: Floats
    requests: Ints
    queue: Ints
    stack: Ints
    passed: Ints
    due: Ints
    completing: Ints
    finished: Ints
    edges: Ints
    intervals: Ints


def compiled(function: _F) -> _F:
    """Compile, keeping the machine code on disk where a folder is writable (a read-only image has none)."""
    # Nothing here allocates; without reference counts an iteration takes 25 ns instead of 200.
    function.__qualname__ = f"{function.__name__}_{_CHECKSUM:08x}"
    options: dict[str, Any] = {"nogil": True, "forceinline": True, "_nrt": False}
    try:
        fast: _F = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        fast = numba.njit(**options)(function)
    return fast
