"""Lengths of several classes served together: shares of requests, each with the lengths of its own class.

One pair of histograms for all would not do: it takes input and output as independent, and so invents long answers
to long prompts where only short prompts have them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from joulery.serving.mix import Ints, LengthMix

# Shares are whole parts of this, so that loads that wander a little ask the same question; 0.4 % each.
QUANTA = 256


class Lengths(Protocol):
    """Where lengths of requests are drawn from."""

    @property
    def content_hash(self) -> str:
        """Hex digest of the content."""
        ...

    def sample(self, count: int, seed: int) -> tuple[Ints, Ints]:
        """Input and output tokens of so many requests."""
        ...


@dataclass(frozen=True)
class ClassMix:
    """Lengths of classes by parts of requests, each at least 1; build with `of_rates`."""

    parts: tuple[tuple[int, LengthMix], ...]

    @cached_property
    def content_hash(self) -> str:
        """Hex digest of the content."""
        fields = [(part, mix.content_hash) for part, mix in self.parts]
        return hashlib.sha256(repr(fields).encode()).hexdigest()[:16]

    def sample(self, count: int, seed: int) -> tuple[Ints, Ints]:
        """Lengths of so many requests: each class has its part of them to one request, in random order."""
        cumulative = np.cumsum([0, *(part for part, _ in self.parts)])
        bounds = np.rint(cumulative * (count / cumulative[-1])).astype(np.int64)
        drawn = [
            mix.sample(int(n), seed + 7919 * place)
            for place, ((_, mix), n) in enumerate(zip(self.parts, np.diff(bounds), strict=True))
            if n > 0
        ]
        order = np.random.default_rng([seed, 2]).permutation(count)
        return (
            np.concatenate([inputs for inputs, _ in drawn])[order],
            np.concatenate([outputs for _, outputs in drawn])[order],
        )


def of_rates(rates: Sequence[tuple[float, LengthMix]]) -> ClassMix:
    """The mix of classes at these rates: shares to the nearest 256th, the rarest at least one.

    Raises ValueError where no rate is above 0 or one is negative.
    """
    if not rates or min(rate for rate, _ in rates) < 0.0 or not math.fsum(rate for rate, _ in rates) > 0.0:
        raise ValueError(f"rates must not be negative and one above 0, got {[rate for rate, _ in rates]}")
    total = math.fsum(rate for rate, _ in rates)
    parts = ((max(1, round(QUANTA * rate / total)), mix) for rate, mix in rates if rate > 0.0)
    return ClassMix(tuple(sorted(parts, key=lambda part: (part[1].content_hash, part[0]))))
