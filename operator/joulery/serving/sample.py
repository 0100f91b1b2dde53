"""Requests to load an engine with: lengths, and arrivals that come denser or thinner with the rate."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulery.serving.class_mix import Lengths

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BURST_S = 1.0  # within which the requests of one burst come


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests with the times between their bursts at one request per second on average.

    A request comes `late_s` after its burst begins, whatever the rate; without bursts that is at once.
    """

    input_tokens: Ints
    output_tokens: Ints
    gaps: Floats
    late_s: Floats

    @staticmethod
    def of_lengths(input_tokens: Ints, output_tokens: Ints, *, seed: int, dispersion: float = 1.0) -> Sample:
        """Random arrivals for given lengths, their mean rate exact.

        At dispersion 1 they are Poisson. Above it bursts are, and their sizes are logarithmic: counts per
        second are then negative-binomial with that variance over mean at every rate (Quenouille, 1949).
        """
        count = len(input_tokens)
        rng = np.random.default_rng([seed, 1])
        if dispersion <= 1.0:
            gaps, late_s = rng.exponential(size=count), np.zeros(count)
        else:
            sizes = rng.logseries(1.0 - 1.0 / dispersion, size=count)
            gaps = np.zeros(count)
            firsts = np.cumsum(sizes) - sizes
            firsts = firsts[firsts < count]
            gaps[firsts] = rng.exponential(size=len(firsts))
            late_s = _BURST_S * rng.random(count)
        return Sample(input_tokens, output_tokens, gaps / gaps.mean(), late_s)

    @staticmethod
    def of_mix(mix: Lengths, count: int, *, seed: int, longest: int, dispersion: float = 1.0) -> Sample:
        """Requests drawn from a mix; input cut so that input and output stay within `longest` tokens."""
        return Sample.of_lengths(*mix.sample(count, seed), seed=seed, dispersion=dispersion).cut(longest)

    def __len__(self) -> int:
        return len(self.gaps)

    def cut(self, longest: int) -> Sample:
        """The same with input cut so that input and output stay within so many tokens."""
        outputs = np.minimum(self.output_tokens, longest - 1)
        return replace(
            self, input_tokens=np.minimum(self.input_tokens, longest - outputs), output_tokens=outputs
        )

    def first(self, count: int) -> Sample:
        """The first requests, evenly thinned so that lengths keep their distribution."""
        keep = np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64)
        gaps = self.gaps[: len(keep)]
        return Sample(
            self.input_tokens[keep], self.output_tokens[keep], gaps / gaps.mean(), self.late_s[: len(keep)]
        )


class Samples:
    """Samples by what they are drawn from, each drawn once; the least recently asked are dropped.

    All variants of a pool are tried under the same requests, whatever each has room for.
    """

    def __init__(self, *, capacity: int = 4) -> None:
        self._capacity = capacity
        self._known: OrderedDict[object, Sample] = OrderedDict()

    def of_mix(self, mix: Lengths, count: int, *, seed: int, longest: int, dispersion: float = 1.0) -> Sample:
        """As `Sample.of_mix`."""
        key = (mix.content_hash, count, seed, dispersion)
        if key not in self._known:
            self._known[key] = Sample.of_lengths(*mix.sample(count, seed), seed=seed, dispersion=dispersion)
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key].cut(longest)


class Columns:
    """A sample as an engine takes it: arrivals, input tokens, output tokens and places in the sample."""

    def __init__(self, sample: Sample) -> None:
        self._units_s = np.cumsum(sample.gaps)
        self._late_s = sample.late_s
        self._has_bursts = bool(sample.late_s.any())
        self.table: Ints = np.empty((4, len(sample)), np.int64)
        self.table[1], self.table[2] = sample.input_tokens, sample.output_tokens
        self.table[3] = np.arange(len(sample))

    def at_rate(self, rate_rps: float) -> Ints:
        """The columns with arrivals at a mean rate, valid until the next call."""
        at_s = self._units_s / rate_rps
        self.table[0] = (np.sort(at_s + self._late_s) if self._has_bursts else at_s) * 1e9
        return self.table
