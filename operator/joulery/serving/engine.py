"""One running engine instance, resumable at any instant; emulator, replay and operating points all run this.

An engine is told arrivals and clock changes and asked to live up to a time. An iteration that began before
that time and ends after it stays in flight; how time is cut never changes what happens, of the joules nothing
but the last bits. Loading this module loads numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from joulery.serving import kernel
from joulery.serving import kernel_cells as at
from joulery.serving.engine_records import VLLM_ITL_EDGES_NS, EngineCounters, FinishedRequests
from joulery.serving.engine_state import (
    QueueDiscipline,
    check_lengths,
    empty_cells,
    energy_j,
    flight_w,
    set_clock,
)
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.request_table import RequestTable

__all__ = [
    "VLLM_ITL_EDGES_NS",
    "Engine",
    "EngineCounters",
    "FinishedRequests",
    "InstanceModel",
    "instance_model",
]

Ints = npt.NDArray[np.int64]


class Engine:
    """A continuous-batching engine of one variant. Times are integer nanoseconds on the caller's clock."""

    def __init__(
        self,
        model: InstanceModel,
        *,
        token_budget: int,
        max_num_seqs: int,
        clock_mhz: int,
        start_ns: int = 0,
        capacity_hint: int = 256,
        itl_edges_ns: tuple[int, ...] = VLLM_ITL_EDGES_NS,
        queue: QueueDiscipline = QueueDiscipline.FIFO,
    ) -> None:
        self.model = model
        self._at_clock = cache(model.at_clock)
        self._state: Ints = empty_cells(
            model, token_budget=token_budget, max_num_seqs=max_num_seqs, start_ns=start_ns, queue=queue
        )
        self._joules = np.zeros(at.JOULE_CELLS)
        self._table = RequestTable(capacity_hint=capacity_hint, max_num_seqs=max_num_seqs)
        self._edges: Ints = np.array(itl_edges_ns, np.int64)
        self._intervals: Ints = np.zeros(len(itl_edges_ns) + 1, np.int64)
        self._arrays = self._table.arrays(self._state, self._joules, self._edges, self._intervals)
        self._last_arrival_ns = start_ns
        self._draining = False
        self.set_clock(clock_mhz)

    @property
    def now_ns(self) -> int:
        """How far this engine has lived."""
        return int(self._state[at.NOW])

    @property
    def iteration_end_ns(self) -> int | None:
        """When the iteration in flight ends, None where none is."""
        end_ns = int(self._state[at.ITERATION_END])
        return end_ns if end_ns >= 0 else None

    @property
    def clock_mhz(self) -> int:
        """The clock of iterations that start from now on."""
        return self._clock.clock_mhz

    @property
    def in_flight(self) -> int:
        """Requests submitted and not finished, those yet to arrive included."""
        s = self._state
        return int(s[at.RUNNING] + s[at.QUEUE_LENGTH] + s[at.PREEMPTED])

    @property
    def is_draining(self) -> bool:
        """Whether submissions are refused."""
        return self._draining

    @property
    def longest_request_tokens(self) -> int:
        """Most input and output tokens together that one request may have."""
        return self.model.longest_request_tokens

    @property
    def itl_edges_ns(self) -> Ints:
        """Upper edges of the bins of `itl_histogram`, the last bin being open."""
        return self._edges

    @property
    def itl_histogram(self) -> Ints:
        """Token intervals by bin since the start, a copy."""
        return self._intervals.copy()

    @property
    def itl_sum_ns(self) -> int:
        """Sum of all token intervals since the start."""
        return int(self._state[at.ITL_SUM_NS])

    @property
    def energy_j(self) -> float:
        """Joules of the whole instance since the start, idle time and the iteration in flight included."""
        return energy_j(self._state, self._joules, self._clock.idle_w)

    def set_clock(self, clock_mhz: int) -> None:
        """Clock iterations that start from now on; one in flight ends as it began. Raises as `at_clock`."""
        self._clock = self._at_clock(clock_mhz)
        set_clock(self._state, self._joules, self._clock)

    def submit(
        self,
        arrival_ns: int,
        input_tokens: int,
        output_tokens: int,
        tag: int = 0,
        deadline_ns: int | None = None,
    ) -> None:
        """Submit one request; as `submit_many`."""
        one = np.array([[arrival_ns], [input_tokens], [output_tokens], [tag]], np.int64)
        deadlines = None if deadline_ns is None else np.array([deadline_ns], np.int64)
        self.submit_many(one[0], one[1], one[2], one[3], deadlines)

    def submit_many(
        self,
        arrival_ns: Ints,
        input_tokens: Ints,
        output_tokens: Ints,
        tags: Ints | None = None,
        deadlines_ns: Ints | Sequence[int] | None = None,
    ) -> None:
        """Submit requests in order of arrival, none before now or before one already submitted.

        Deadlines are when first tokens are due: arrival plus the objective of the request's class. Only a queue
        in their order reads them, and needs them.

        Raises ValueError for arrivals out of order, for lengths below 1, for a request longer than the
        engine's limits (cutting it is the caller's duty), without deadlines that the queue needs, and while
        draining; nothing is submitted then.
        """
        if len(arrival_ns) == 0:
            return
        self._check_submission(arrival_ns, input_tokens, output_tokens)
        if deadlines_ns is None and self._state[at.BY_DEADLINE]:
            raise ValueError("a queue in order of deadlines needs the deadline of every request")
        columns: Ints = np.empty((4 if deadlines_ns is None else 5, len(arrival_ns)), np.int64)
        columns[0], columns[1], columns[2] = arrival_ns, input_tokens, output_tokens
        columns[3] = 0 if tags is None else tags
        if deadlines_ns is not None:
            columns[4] = deadlines_ns
        self._table.reserve(self._state, count=len(arrival_ns), longest_output=int(output_tokens.max()))
        self._arrays = self._table.arrays(self._state, self._joules, self._edges, self._intervals)
        self._table.append(self._arrays, columns)
        self._last_arrival_ns = int(arrival_ns[-1])

    def advance(self, until_ns: int) -> None:
        """Live up to a time: all that ends by then, all that begins before it. ValueError for the past."""
        if until_ns < self._state[at.NOW]:
            raise ValueError(f"cannot advance to {until_ns} ns, the engine is at {self.now_ns} ns")
        kernel.advance(self._arrays, until_ns)

    def counters(self) -> EngineCounters:
        """The engine's gauges and totals now."""
        s = self._state
        waiting = self._table.waiting(s)
        return EngineCounters(
            time_ns=int(s[at.NOW]),
            running=int(s[at.RUNNING]),
            waiting=waiting,
            kv_tokens=int(s[at.KV_TOKENS]),
            kv_usage=float(s[at.KV_TOKENS] / s[at.KV_CAPACITY]),
            prompt_tokens_total=int(s[at.PROMPT_TOKENS]),
            generation_tokens_total=int(s[at.GENERATION_TOKENS]),
            requests_total=int(s[at.REQUESTS]),
            preemptions_total=int(s[at.PREEMPTIONS]),
            energy_j=self.energy_j,
            power_w=flight_w(s, self._joules) if s[at.ITERATION_END] >= 0 else self._clock.idle_w,
            oldest_waiting_arrival_ns=self._table.oldest_waiting_ns(s) if waiting else None,
        )

    def time_shares_ns(self) -> dict[str, int]:
        """Nanoseconds by kind of time (as `PowerParameters`), of completed iterations and idle time."""
        cells = {
            "host": at.HOST_NS,
            "weights": at.STREAMING_NS,
            "compute": at.COMPUTE_NS,
            "attention": at.ATTENTION_NS,
            "idle": at.IDLE_NS,
        }
        return {name: int(self._state[cell]) for name, cell in cells.items()}

    def take_first_tokens(self) -> Ints:
        """TTFT in ns, without the client's overhead, of requests whose first token came since the last call.

        To be called before requests are submitted again: rows of finished and taken ones are reused then.
        """
        taken = self._table.take_first_tokens()
        ttft_ns: Ints = taken[:, at.FIRST_TOKEN] - taken[:, at.ARRIVAL]
        return ttft_ns

    def take_finished(self) -> FinishedRequests:
        """Requests finished since the last call; each is handed out once."""
        taken = self._table.take_finished(self._state)
        first, finish, output = taken[at.FIRST_TOKEN], taken[at.FINISH], taken[at.OUTPUT]
        return FinishedRequests(
            tag=taken[at.TAG],
            arrival_ns=taken[at.ARRIVAL],
            ttft_ns=first - taken[at.ARRIVAL] + self.model.client_ns,
            tpot_ns=(finish - first) // np.maximum(output - 1, 1),
            first_token_ns=first + self.model.client_ns,
            finish_ns=finish,
            input_tokens=taken[at.INPUT],
            output_tokens=output,
        )

    def drain(self) -> None:
        """Refuse submissions from now on; what is in flight ends as usual."""
        self._draining = True

    def abort(self) -> Ints:
        """Drop all requests in flight, as a killed pod does, and drain; their tags in order of arrival.

        The iteration in flight counts for the energy up to now and for nothing else.
        """
        self._joules[at.ENERGY_J] = self.energy_j - 1e-9 * float(self._state[at.IDLE_NS]) * self._clock.idle_w
        self._draining = True
        return self._table.drop_unfinished(self._state)

    def _check_submission(self, arrival_ns: Ints, input_tokens: Ints, output_tokens: Ints) -> None:
        if self._draining:
            raise ValueError("the engine is draining and takes no requests")
        earliest = max(self._last_arrival_ns, self.now_ns)
        if arrival_ns[0] < earliest or bool((arrival_ns[1:] < arrival_ns[:-1]).any()):
            raise ValueError(
                f"arrivals must not fall nor lie before {earliest} ns, got {int(arrival_ns.min())} ns"
            )
        check_lengths(self.model, input_tokens, output_tokens)
