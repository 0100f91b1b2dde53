"""Stopwatches that do not wait: time passes by being read."""

from __future__ import annotations

import itertools
from collections.abc import Callable


def jumping(calls: int) -> Callable[[], float]:
    """A stopwatch at zero for so many readings and far past any limit afterwards."""
    readings = itertools.chain(itertools.repeat(0.0, calls), itertools.repeat(1e9))
    return lambda: next(readings)


class Ticking:
    """A stopwatch that is a second later at every reading."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1.0
        return self.seconds
