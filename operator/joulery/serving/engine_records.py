"""What an engine reports: counters at an instant, and the requests it finished. No numba."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

# Upper edges of vLLM's inter-token latency histogram, in nanoseconds (vllm/v1/metrics/loggers.py).
VLLM_ITL_EDGES_NS: tuple[int, ...] = tuple(
    milliseconds * 1_000_000
    for milliseconds in (
        *(10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750),
        *(1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000),
    )
)


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """What an engine reports at an instant. Totals never fall; energy includes idle time up to now."""

    time_ns: int
    running: int
    waiting: int
    kv_tokens: int
    kv_usage: float
    prompt_tokens_total: int
    generation_tokens_total: int
    requests_total: int
    preemptions_total: int
    energy_j: float
    power_w: float
    oldest_waiting_arrival_ns: int | None


@dataclass(frozen=True, slots=True)
class FinishedRequests:
    """Requests in order of completion, as parallel arrays.

    TTFT and `first_token_ns` include the client's overhead. TPOT is the mean ITL of a request, 0 for one
    token.
    """

    tag: Ints
    arrival_ns: Ints
    ttft_ns: Ints
    tpot_ns: Ints
    first_token_ns: Ints
    finish_ns: Ints
    input_tokens: Ints
    output_tokens: Ints

    def __len__(self) -> int:
        return len(self.tag)
