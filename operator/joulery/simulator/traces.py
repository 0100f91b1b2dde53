"""Request streams from the public traces that ship in `joulery.data.traces`.

A stream is synthetic and says so: rates follow one day of the 2024 week, kept by a constant share (thinning);
input and output lengths are drawn jointly from the 2023 requests; counts per second are negative-binomial with
the dispersion that independent thinning leaves of the measured one; arrivals are uniform within a second.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

NS_PER_S = 1_000_000_000
DAY_S = 86_400
_WINDOW_S = 600
# Longer prompts lie outside the nine classes (0.01 % of conversation requests): cut to the longest bound.
LONGEST_INPUT_TOKENS = 8192
# `--max-model-len` of the engines: the edges of vLLM's token histograms reach up to it.
MAX_MODEL_LENGTH_TOKENS = 16_384

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """A pool's trace. `kept_share` thins the 2024 rates; `dispersion` is of 1 s counts before thinning.

    Dispersions (variance over mean of 1 s counts) of the 2023 requests: conversation 1.39, coding 13.2.
    """

    trace: str
    kept_share: float
    dispersion: float

    @property
    def thinned_dispersion(self) -> float:
        """Dispersion after independent thinning: 1 + p (D - 1)."""
        return 1.0 + self.kept_share * (self.dispersion - 1.0)


CONVERSATION_DISPERSION = 1.39
CODING_DISPERSION = 13.2


@dataclass(frozen=True, slots=True)
class Requests:
    """A stream in order of arrival: arrays of equal length, arrivals in nanoseconds from the stream's start."""

    arrival_ns: IntArray
    input_tokens: IntArray
    output_tokens: IntArray

    def __len__(self) -> int:
        return len(self.arrival_ns)

    def between(self, start_ns: int, end_ns: int) -> Requests:
        """Requests that arrive in [start, end)."""
        low, high = np.searchsorted(self.arrival_ns, (start_ns, end_ns))
        return Requests(self.arrival_ns[low:high], self.input_tokens[low:high], self.output_tokens[low:high])


def _read(name: str) -> list[dict[str, str]]:
    raw = files("joulery.data").joinpath("traces", name).read_bytes()
    return list(csv.DictReader(io.StringIO(gzip.decompress(raw).decode())))


@lru_cache(maxsize=4)
def request_lengths(trace: str) -> tuple[IntArray, IntArray]:
    """Input and output tokens of every 2023 request of `conv` or `code`, inputs cut to the longest class."""
    rows = _read(f"azure-2023-{trace}-lengths.csv.gz")
    inputs = np.array([int(row["input_tokens"]) for row in rows], dtype=np.int64)
    outputs = np.array([int(row["output_tokens"]) for row in rows], dtype=np.int64)
    return np.minimum(inputs, LONGEST_INPUT_TOKENS), outputs


@lru_cache(maxsize=4)
def _week(trace: str) -> tuple[FloatArray, FloatArray]:
    rows = [row for row in _read("azure-2024-week-load.csv.gz") if row["trace"] == trace]
    starts = [
        datetime.fromisoformat(row["window_start_utc"].replace("Z", "+00:00")).timestamp() for row in rows
    ]
    rates = [float(row["requests_per_min"]) / 60.0 for row in rows]
    return np.array(starts) + _WINDOW_S / 2, np.array(rates)


def rates_per_s(workload: Workload, day: date, times_s: FloatArray) -> FloatArray:
    """Thinned request rate at seconds of that UTC day, linear between the middles of the ten-minute windows.

    Raises:
        ValueError: the day is not covered by the trace.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    middles, rates = _week(workload.trace)
    if midnight < middles[0] - _WINDOW_S or midnight + DAY_S > middles[-1] + _WINDOW_S:
        raise ValueError(
            f"trace {workload.trace!r} has no full day {day.isoformat()}; the shared days are 2024-05-12 to 16"
        )
    return np.interp(midnight + times_s, middles, rates) * workload.kept_share


def _counts(rates: FloatArray, dispersion: float, rng: np.random.Generator) -> IntArray:
    if dispersion <= 1.0:
        return rng.poisson(rates)
    # Gamma-Poisson with variance = dispersion x mean.
    return rng.poisson(rng.gamma(np.maximum(rates, 1e-12) / (dispersion - 1.0), dispersion - 1.0))


def requests_of_day(
    workload: Workload,
    day: date,
    seed: int,
    *,
    squeeze: float = 1.0,
    duration_s: float | None = None,
    start_s: float = 0.0,
    lead_s: float = 0.0,
) -> Requests:
    """One day's stream, or part of it; `squeeze` runs the day's curve that many times faster at unchanged rates.

    Args:
        workload: trace, thinning and dispersion.
        day: UTC day of May 2024.
        seed: draws counts, arrivals and lengths.
        squeeze: the curve's speed; request rates and lengths stay true, so there are that many fewer requests.
        duration_s: length of the stream in its own seconds; the rest of the day where absent.
        start_s: second of the day at which the stream begins.
        lead_s: seconds at the first rate that come before, whole ones.
    """
    seconds = int(lead_s) + int(duration_s if duration_s is not None else (DAY_S - start_s) / squeeze)
    rng = np.random.default_rng([seed, *workload.trace.encode()])
    since_lead_s = np.maximum(np.arange(seconds, dtype=np.float64) + 0.5 - int(lead_s), 0.0)
    times_s = start_s + since_lead_s * squeeze
    rates = rates_per_s(workload, day, times_s)
    counts = _counts(rates, workload.thinned_dispersion, rng)
    second = np.repeat(np.arange(seconds, dtype=np.int64), counts)
    arrivals = np.sort(second * NS_PER_S + rng.integers(0, NS_PER_S, len(second)))
    inputs, outputs = request_lengths(workload.trace)
    rows = rng.integers(0, len(inputs), len(second))
    return Requests(arrivals, inputs[rows], outputs[rows])
