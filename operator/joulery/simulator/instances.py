"""Simulated instances: engines on nodes, from creation over loading and serving to the end of their drain."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from joulery.domain.clock_table import ClockTable, GovernorState, govern
from joulery.domain.fleet import Replica, ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.load_window import EngineReading, LoadWindow
from joulery.domain.pool import Variant
from joulery.serving.engine import Engine, FinishedRequests
from joulery.serving.instance import InstanceModel
from joulery.simulator.traces import NS_PER_S, Requests


class Phase(StrEnum):
    """Life of a simulated instance."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    DRAINING = "Draining"
    GONE = "Gone"


_PHASE = {
    Phase.PENDING: ReplicaPhase.UNSCHEDULED,
    Phase.STARTING: ReplicaPhase.STARTING,
    Phase.READY: ReplicaPhase.READY,
    Phase.DRAINING: ReplicaPhase.TERMINATING,
}


@dataclass(slots=True)
class Instance:
    """One engine of a variant. Mutable: it is the simulated world, not a decision.

    Loading draws the watts of an idle loaded engine (assumed: no public figure for loading).
    """

    name: str
    pool: ObjectKey
    variant: Variant
    model: InstanceModel
    created_s: float
    startup_s: float
    clock_mhz: int
    phase: Phase = Phase.PENDING
    node: int | None = None
    ready_s: float = float("inf")
    loading_energy_j: float = 0.0
    engine: Engine | None = None
    window: LoadWindow | None = None
    governor: GovernorState | None = None
    clock_changes: int = 0
    deletion_cost: int = 0

    @property
    def gpus(self) -> int:
        """GPUs it holds while it exists."""
        return self.variant.tensor_parallel_size

    def schedule(self, node: int, now_s: float) -> None:
        """Begin loading on a node."""
        self.node, self.phase, self.ready_s = node, Phase.STARTING, now_s + self.startup_s

    def serve(self) -> None:
        """Become ready at the time foreseen."""
        self.phase = Phase.READY
        self.loading_energy_j = self.model.idle_loaded_w * self.startup_s
        self.engine = Engine(
            self.model,
            token_budget=self.variant.token_budget,
            max_num_seqs=self.variant.max_num_seqs,
            clock_mhz=self.clock_mhz,
            start_ns=round(self.ready_s * NS_PER_S),
        )

    def submit(self, requests: Requests) -> None:
        """Take over requests in order of arrival."""
        assert self.engine is not None
        arrivals = np.maximum(requests.arrival_ns, round(self.ready_s * NS_PER_S))
        self.engine.submit_many(arrivals, requests.input_tokens, requests.output_tokens, requests.arrival_ns)

    def advance(self, until_s: float) -> None:
        """Run the engine up to a time; a draining one is gone when it is empty."""
        if self.engine is None:
            return
        self.engine.advance(round(until_s * NS_PER_S))
        if self.phase is Phase.DRAINING and self.engine.in_flight == 0:
            self.phase = Phase.GONE

    def drain(self, now_s: float) -> None:
        """Stop taking requests; an instance that never served is gone at once."""
        if self.engine is None:
            started_s = self.ready_s - self.startup_s
            self.loading_energy_j = (
                self.model.idle_loaded_w * max(0.0, now_s - started_s) if self.node is not None else 0.0
            )
            self.phase = Phase.GONE
        else:
            self.phase = Phase.DRAINING

    def govern(self, table: ClockTable, now_s: float, window_s: float) -> None:
        """One clock epoch of the node agent: read the engine's counters, look the clock up, set it."""
        if self.engine is None:
            return
        counters = self.engine.counters()
        reading = EngineReading(
            now_s,
            counters.prompt_tokens_total,
            counters.generation_tokens_total,
            counters.requests_total,
            counters.running,
            counters.waiting,
            counters.kv_usage,
        )
        self.window = (self.window or LoadWindow(window_s)).push(reading)
        sample = self.window.sample()
        if sample is None:
            return
        state = self.governor or GovernorState(table.highest_mhz)
        self.governor = govern(table, state, sample)
        self.set_clock(self.governor.clock_mhz)

    def set_clock(self, clock_mhz: int) -> None:
        """Lock the clock; counts a change."""
        if clock_mhz != self.clock_mhz:
            self.clock_mhz = clock_mhz
            self.clock_changes += 1
            if self.engine is not None:
                self.engine.set_clock(clock_mhz)

    def release_clock(self, highest_mhz: int) -> None:
        """Back to the default clock, as an agent does without a table."""
        self.governor = None
        self.set_clock(highest_mhz)

    def energy_j(self) -> float:
        """Joules of its GPUs so far; those of a start under way are counted when it ends."""
        return self.loading_energy_j + (self.engine.counters().energy_j if self.engine is not None else 0.0)

    def finished(self) -> FinishedRequests | None:
        """Requests that ended since the last call."""
        return self.engine.take_finished() if self.engine is not None else None

    def replica(self, now_s: float, epoch_s: float) -> Replica:
        """What the API server and Prometheus would show of it; `epoch_s` is the wall time of the run's start."""
        held_s = self.governor.highest_since_s if self.governor is not None else None
        return Replica(
            name=self.name,
            uid=self.name,
            phase=_PHASE[self.phase],
            created_s=epoch_s + self.created_s,
            node=f"node-{self.node}" if self.node is not None else None,
            address="127.0.0.1",
            ready_since_s=epoch_s + self.ready_s if self.phase is Phase.READY else None,
            running_requests=self.engine.in_flight if self.engine is not None else None,
            running_measured_s=epoch_s + now_s if self.engine is not None else None,
            deletion_cost=self.deletion_cost,
            answers=self.engine.counters().requests_total if self.engine is not None else None,
            highest_since_s=epoch_s + held_s if held_s is not None else None,
        )
