"""How kernels are compiled, and where their machine code is kept. Loading this loads numba.

Machine code holds what it calls and every constant, yet numba's cache on disk notices changes only of the file
that a function stands in. Names in the cache therefore carry a checksum of all files of a kernel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., object])


class Compiler(Protocol):
    """A decorator that keeps the type of what it compiles."""

    def __call__(self, function: _F, /) -> _F:
        """The same function as machine code."""
        ...


def compiler(folder: Path, **options: Any) -> Compiler:
    """The compiler of the kernel whose files are `kernel*.py` in a folder.

    Args:
        options: of numba (its stubs do not name them all), beside those that every kernel has.
    """
    sources = sorted(folder.glob("kernel*.py"))
    checksum = zlib.crc32(b"".join(source.read_bytes() for source in sources))

    def compiled(function: _F) -> _F:
        function.__qualname__ = f"{function.__name__}_{checksum:08x}"
        try:
            kept: _F = numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # no folder is writable, as in a read-only image
            kept = numba.njit(nogil=True, **options)(function)
        return kept

    return compiled
