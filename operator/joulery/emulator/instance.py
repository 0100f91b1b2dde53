"""One pod's engine from loading to its end, in model time; no I/O.

The energy of a loading pod is that of GPUs with the model resident and nothing to do.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from joulery.domain.keys import ObjectKey
from joulery.emulator.engine_options import EngineOptions
from joulery.errors import ConfigError
from joulery.serving.engine import Engine, InstanceModel
from joulery.serving.engine_records import EngineCounters, FinishedRequests

Ints = npt.NDArray[np.int64]
_NS = 1_000_000_000
# Of its clock, as what an engine that compiles on its first requests comes to; no measurement stands behind it.
WARMUP_CLOCK_SHARE = 0.5


class InstancePhase(StrEnum):
    """Where an engine is between start and end."""

    LOADING = "Loading"
    SERVING = "Serving"
    DRAINING = "Draining"


class Instance:
    """An engine that loads, serves and drains; the engine itself exists from the end of loading.

    Until it has taken `warmup_requests` it is as slow as at a share of its clock, which it does not show.
    """

    def __init__(
        self,
        pod: ObjectKey,
        options: EngineOptions,
        model: InstanceModel,
        now_ns: int,
        warmup_requests: int = 0,
    ) -> None:
        self.pod = pod
        self.options = options
        self.model = model
        self.phase = InstancePhase.LOADING
        self.engine: Engine | None = None
        self._now_ns = self._started_ns = self._loaded_ns = now_ns
        self._clock_mhz = model.max_clock_mhz
        self._warmup_requests = warmup_requests
        _check(options, model)

    @property
    def energy_j(self) -> float:
        """Joules of all GPUs of the instance since it began to load."""
        if self.engine is None:
            return self._loading_j(self._now_ns)
        return self._loading_j(self._loaded_ns) + self.engine.energy_j

    @property
    def clock_mhz(self) -> int:
        """Clock of its GPUs."""
        return self._clock_mhz

    @property
    def in_flight(self) -> int:
        """Requests it has taken and not finished."""
        return 0 if self.engine is None else self.engine.in_flight

    @property
    def longest_request_tokens(self) -> int:
        """Most input and output tokens of one request."""
        limit = self.options.max_model_length or self.model.max_model_length
        return min(self.model.longest_request_tokens, limit)

    def load(self) -> None:
        """Loading is over: the engine exists and its counters start from zero."""
        self._loaded_ns = self._now_ns
        self.engine = Engine(
            self.model,
            token_budget=self.options.token_budget,
            max_num_seqs=self.options.max_num_seqs,
            clock_mhz=self._speed_mhz,
            start_ns=self._now_ns,
        )

    def serve(self) -> None:
        """Requests may come, unless it drains already."""
        if self.phase is InstancePhase.LOADING:
            self.phase = InstancePhase.SERVING

    def drain(self) -> None:
        """No request comes any more."""
        self.phase = InstancePhase.DRAINING

    def submit(self, arrivals_ns: Ints, inputs: Ints, outputs: Ints, ids: Ints) -> None:
        """Take requests in order of arrival; what exceeds the engine's limit is cut off."""
        assert self.engine is not None, "an engine that loads takes no requests"
        limit = self.longest_request_tokens
        inputs = np.minimum(inputs, limit - 1)
        outputs = np.minimum(outputs, limit - inputs)
        self.engine.submit_many(np.maximum(arrivals_ns, self.engine.now_ns), inputs, outputs, ids)

    def set_clock(self, clock_mhz: int) -> bool:
        """Clock all its GPUs, within what the device can; whether that changed anything."""
        wanted = min(max(clock_mhz, 1), self.model.max_clock_mhz)
        if wanted == self._clock_mhz:
            return False
        self._clock_mhz = wanted
        if self.engine is not None:
            self.engine.set_clock(self._speed_mhz)
        return True

    def advance(self, until_ns: int) -> FinishedRequests | None:
        """Live up to a time; the requests that finished, None while loading."""
        self._now_ns = until_ns
        if self.engine is None:
            return None
        self.engine.advance(until_ns)
        self._warm_up(self.engine)
        return self.engine.take_finished()

    def take_first_tokens(self) -> Ints:
        """TTFT in ns of requests whose first token came since the last call."""
        return np.zeros(0, np.int64) if self.engine is None else self.engine.take_first_tokens()

    def counters(self) -> EngineCounters | None:
        """The engine's own counters, None while loading."""
        return None if self.engine is None else self.engine.counters()

    def end(self) -> Ints:
        """Kill it; the ids of requests it had not finished."""
        self.phase = InstancePhase.DRAINING
        return np.zeros(0, np.int64) if self.engine is None else self.engine.abort()

    @property
    def _speed_mhz(self) -> int:
        """The clock that it is as fast as."""
        return (
            max(1, round(WARMUP_CLOCK_SHARE * self._clock_mhz)) if self._warmup_requests else self._clock_mhz
        )

    def _warm_up(self, engine: Engine) -> None:
        """Full speed from the tick on in which it has taken enough requests."""
        if self._warmup_requests and engine.counters().requests_total >= self._warmup_requests:
            self._warmup_requests = 0
            engine.set_clock(self._speed_mhz)

    def _loading_j(self, until_ns: int) -> float:
        return self.model.idle_loaded_w * (until_ns - self._started_ns) / _NS


def _check(options: EngineOptions, model: InstanceModel) -> None:
    if options.token_budget < options.max_num_seqs:
        raise ConfigError(
            f"--max-num-batched-tokens {options.token_budget} is below --max-num-seqs {options.max_num_seqs}"
        )
    if model.kv_capacity_tokens < 1:
        raise ConfigError(
            f"no memory is left for the KV cache at tensor-parallel size {options.tensor_parallel_size}"
        )
