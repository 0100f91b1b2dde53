"""One engine for trial after trial: its arrays are made once and wiped. Loading this module loads numba."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulery.domain.request_class import Objective
from joulery.serving import kernel, kernel_trial
from joulery.serving import kernel_cells as at
from joulery.serving.engine_state import check_lengths, empty_cells, energy_j, set_clock
from joulery.serving.instance import ClockCoefficients, InstanceModel
from joulery.serving.request_table import RequestTable

Ints = npt.NDArray[np.int64]

_ENDLESS = np.iinfo(np.int64).max
_MS = 1_000_000


class TrialEngine:
    """Serves one list of requests after another, each from the beginning; at most `requests` in each."""

    def __init__(
        self,
        model: InstanceModel,
        *,
        token_budget: int,
        max_num_seqs: int,
        objective: Objective,
        input_tokens: Ints,
        output_tokens: Ints,
    ) -> None:
        """Make an engine for lists no longer than these lengths. Raises as `Engine` and its `submit_many`."""
        check_lengths(model, input_tokens, output_tokens)
        self._model = model
        self._clocks: dict[int, ClockCoefficients] = {}
        self._empty = empty_cells(model, token_budget=token_budget, max_num_seqs=max_num_seqs)
        self._cells = self._empty.copy()
        self._joules = np.zeros(at.JOULE_CELLS)
        self._table = RequestTable(capacity_hint=len(input_tokens), max_num_seqs=max_num_seqs)
        self._table.reserve(self._cells, count=len(input_tokens), longest_output=int(output_tokens.max()))
        limit_ms = objective.inter_token_latency_p99_ms
        edges: Ints = np.array([] if limit_ms is None else [limit_ms * _MS], np.int64)
        self._arrays = self._table.arrays(
            self._cells, self._joules, edges, np.zeros(len(edges) + 1, np.int64)
        )
        self._times: Ints = np.empty((2, len(input_tokens)), np.int64)
        self._ended = 0
        self._terms: Ints = np.zeros(kernel_trial.TERMS, np.int64)
        self._terms[kernel_trial.TTFT_NS] = objective.time_to_first_token_ms * _MS - model.client_ns
        self._terms[kernel_trial.TPOT_NS] = objective.time_per_output_token_ms * _MS

    def serve(
        self, clock_mhz: int, columns: Ints, bounds: Ints | None = None, *, most_misses: int = _ENDLESS
    ) -> Ints | None:
        """Serve requests to the end; None as soon as more miss TTFT or TPOT than so many.

        `columns` are arrivals, input tokens, output tokens and places; `bounds` are where parts of them end,
        of several the first not being judged. A row per part: misses so far, and token intervals so far within
        the objective's limit and beyond it.
        """
        bounds = np.array([columns.shape[1]]) if bounds is None else bounds
        first_judged = bounds[0] if len(bounds) > 1 else 0
        self._restart(clock_mhz)
        self._terms[[kernel_trial.FIRST_JUDGED, kernel_trial.MOST_MISSES]] = first_judged, most_misses
        marks: Ints = np.empty((len(bounds), kernel_trial.MARKS), np.int64)
        self._ended = kernel_trial.serve(
            self._arrays, self._table.free, columns, bounds, self._terms, self._times, marks
        )
        return marks if self._ended == columns.shape[1] else None

    @property
    def last_times_ns(self) -> tuple[Ints, Ints]:
        """TTFT with the client's overhead, and TPOT, of all requests that ended in the last run."""
        ttft_ns: Ints = self._times[0, : self._ended] + self._model.client_ns
        return ttft_ns, self._times[1, : self._ended]

    def mean_watts(self, clock_mhz: int, columns: Ints, *, first: int) -> float:
        """Mean watts of the whole instance from one arrival to the last."""
        idle_w = self._restart(clock_mhz)
        self._table.append(self._arrays, columns)
        start_ns, end_ns = int(columns[0, first]), int(columns[0, -1])
        kernel.advance(self._arrays, start_ns)
        before_j = energy_j(self._cells, self._joules, idle_w)
        kernel.advance(self._arrays, end_ns)
        return (energy_j(self._cells, self._joules, idle_w) - before_j) / (1e-9 * (end_ns - start_ns))

    def _restart(self, clock_mhz: int) -> float:
        """Forget all requests and everything counted; watts of the instance when idle."""
        clock = self._clocks.get(clock_mhz) or self._clocks.setdefault(
            clock_mhz, self._model.at_clock(clock_mhz)
        )
        self._cells[:] = self._empty
        self._joules[:] = 0.0
        self._arrays.intervals[:] = 0
        self._table.clear()
        set_clock(self._cells, self._joules, clock)
        return clock.idle_w
