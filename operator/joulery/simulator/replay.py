"""Replay: the engine state and the decisions of production without Kubernetes, in true or declared time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from joulery.domain.clock_table import ClockTable
from joulery.domain.demand import ATTAINMENT_WINDOW_S, Demand
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Pool
from joulery.domain.vllm_metrics import token_edges
from joulery.simulator.instances import Phase
from joulery.simulator.measurement import DemandMeter, LatencyMeter
from joulery.simulator.result import RunFigures, Served
from joulery.simulator.tally import Tally
from joulery.simulator.traces import MAX_MODEL_LENGTH_TOKENS, NS_PER_S, Requests
from joulery.simulator.world import PoolWorld, World, finished_arrays


@dataclass(frozen=True, slots=True)
class Timing:
    """Cadences of a run in seconds; a demo shortens them and declares it.

    Before the run counts, `lead_s` of load are served, of which the policy sees the polls after `policy_from_s`:
    a live planner begins on a load that is there, and a short run must not be judged by that beginning.
    """

    duration_s: float = 86_400.0
    lead_s: float = 0.0
    policy_from_s: float = 0.0
    demand_poll_s: float = 15.0
    clock_epoch_s: float = 5.0
    rate_window_s: float = 60.0
    load_window_s: float = 60.0
    attainment_window_s: float = ATTAINMENT_WINDOW_S


@dataclass(frozen=True, slots=True)
class Actions:
    """What a policy wants done after one poll. `tables` maps an instance's name to its clock table."""

    changes: tuple[ScaleChange, ...] = ()
    tables: Mapping[str, ClockTable] = field(default_factory=dict)
    made_plan: bool = False
    up_only: bool = False


class ScalingPolicy(Protocol):
    """A planner under test: Joulery or a baseline."""

    @property
    def name(self) -> str:
        """Its name in results."""
        ...

    @property
    def constants(self) -> Mapping[str, object]:
        """What it was tuned to, for the printed result."""
        ...

    def initial(self, pool: Pool) -> tuple[str, int, int]:
        """Variant, replicas and clock in MHz that serve when the run begins."""
        ...

    def step(self, fleet: Fleet, demand: Mapping[ObjectKey, Demand]) -> Actions:
        """Decide after one poll."""
        ...


@dataclass(frozen=True, slots=True)
class _Before:
    """What had been used when the run began to count."""

    energy_j: Mapping[ObjectKey, float]
    gpu_seconds: float
    turned_away: Mapping[ObjectKey, int]


@dataclass(slots=True)
class Replay:
    """One policy over one set of request streams on one simulated cluster.

    Args:
        world: cluster and pools, before anything runs.
        policy: who decides.
        streams: requests per pool, arrivals from the beginning of the lead.
        timing: cadences.
        dwell_s: only counted against, never enforced here.
        epoch_s: wall time of the run's start, which the planner's forecast may use.
        progress: told the share done, now and then.
    """

    world: World
    policy: ScalingPolicy
    streams: Mapping[ObjectKey, Requests]
    timing: Timing = field(default_factory=Timing)
    dwell_s: float = 600.0
    epoch_s: float = 1_715_472_000.0
    progress: Callable[[float], None] | None = None
    on_poll: Callable[[float, World, Mapping[ObjectKey, Demand]], None] | None = None
    tally: Tally = field(default_factory=Tally)

    def run(self) -> RunFigures:
        """Serve every stream to its end and return the figures of all but the lead."""
        self._begin()
        timing = self.timing
        before = self._used()
        meters = {key: self._meter(world) for key, world in self.world.pools.items()}
        tables: Mapping[str, ClockTable] = {}
        lead_steps = round(timing.lead_s / timing.clock_epoch_s)
        steps = lead_steps + round(timing.duration_s / timing.clock_epoch_s)
        polls_every = max(1, round(timing.demand_poll_s / timing.clock_epoch_s))
        arrived = dict.fromkeys(self.world.pools, 0)
        for step in range(steps):
            start_s, end_s = step * timing.clock_epoch_s, (step + 1) * timing.clock_epoch_s
            if step == lead_steps:
                before = self._used()
            self._serve(start_s, end_s, arrived)
            self._clock(tables, end_s)
            if (step + 1) % polls_every == 0:
                tables = self._poll(end_s, meters, arrived)
                arrived = dict.fromkeys(self.world.pools, 0)
                if self.progress is not None and step % (polls_every * 40) < polls_every:
                    self.progress(step / steps)
        return self._finish((steps - lead_steps) * timing.clock_epoch_s, before)

    def _begin(self) -> None:
        for key, world in self.world.pools.items():
            variant, replicas, clock_mhz = self.policy.initial(world.pool)
            self.world.start_ready(key, variant, replicas, 0.0)
            for instance in world.instances:
                instance.set_clock(clock_mhz)
                instance.clock_changes = 0

    def _meter(self, world: PoolWorld) -> DemandMeter:
        edges = np.array(token_edges(MAX_MODEL_LENGTH_TOKENS), dtype=np.int64)
        latency = LatencyMeter(world.pool.objective, self.timing.attainment_window_s)
        return DemandMeter(world.pool.key, edges, self.timing.rate_window_s, latency)

    def _serve(self, start_s: float, end_s: float, arrived: dict[ObjectKey, int]) -> None:
        arrivals = {
            key: stream.between(round(start_s * NS_PER_S), round(end_s * NS_PER_S))
            for key, stream in self.streams.items()
        }
        for key, requests in arrivals.items():
            arrived[key] += len(requests)
        self.world.advance(start_s, end_s, arrivals)

    def _clock(self, tables: Mapping[str, ClockTable], now_s: float) -> None:
        if not tables:
            return
        for world in self.world.pools.values():
            for instance in world.serving():
                table = tables.get(instance.name)
                if table is not None:
                    instance.govern(table, now_s, self.timing.load_window_s)

    def _poll(
        self, now_s: float, meters: Mapping[ObjectKey, DemandMeter], arrived: Mapping[ObjectKey, int]
    ) -> Mapping[str, ClockTable]:
        demand = {}
        for key, world in self.world.pools.items():
            counters = [i.engine.counters() for i in world.instances if i.engine is not None]
            running, waiting = sum(c.running for c in counters), sum(c.waiting for c in counters)
            at_s = self.epoch_s + now_s
            demand[key] = meters[key].poll(at_s, arrived[key], world.collect(), running, waiting)
        if now_s < self.timing.policy_from_s:
            return {}
        actions = self.policy.step(self.world.snapshot(now_s, self.epoch_s), demand)
        if actions.made_plan:
            self.tally.planned(up_only=actions.up_only)
        self.tally.changed(actions.changes, now_s, self.dwell_s)
        for change in actions.changes:
            self.world.apply(change, now_s)
        if self.on_poll is not None:
            self.on_poll(now_s, self.world, demand)
        return actions.tables

    def _used(self) -> _Before:
        pools = self.world.pools
        return _Before(
            {key: world.energy_j() for key, world in pools.items()},
            self.world.gpu_seconds,
            {key: world.turned_away for key, world in pools.items()},
        )

    def _finish(self, duration_s: float, before: _Before) -> RunFigures:
        pools = {}
        for key, world in self.world.pools.items():
            world.collect()
            pools[key.name] = (world.pool, self._served(world, before.turned_away[key]))
        used = self._used().energy_j
        energy = {key.name: used[key] - before.energy_j[key] for key in self.world.pools}
        return RunFigures(
            pools=pools,
            gpu_energy_j=sum(energy.values()),
            gpu_seconds=self.world.gpu_seconds - before.gpu_seconds,
            duration_s=duration_s,
            hardware=self.world.hardware,
            constants=self.policy.constants,
            actions=self._actions(),
            pool_energy_j=energy,
        )

    def _served(self, world: PoolWorld, turned_away_before: int) -> Served:
        names = ("tag", "input_tokens", "output_tokens", "ttft_ns", "tpot_ns")
        arrival, *others = (finished_arrays(world.finished, n) for n in names)
        counted = arrival >= round(self.timing.lead_s * NS_PER_S)
        inputs, outputs, ttft, tpot = (column[counted] for column in others)
        turned_away = world.turned_away - turned_away_before
        return Served(inputs, outputs, ttft, tpot, arrival[counted], turned_away)

    def _actions(self) -> dict[str, int]:
        tally = self.tally
        living = sum(i.clock_changes for w in self.world.pools.values() for i in w.instances)
        return {
            "plans": tally.plans,
            "upOnlyPlans": tally.up_only_plans,
            "scaleUps": tally.scale_ups,
            "scaleDowns": tally.scale_downs,
            "reshardMoves": tally.reshard_moves,
            "clockChanges": living + sum(w.clock_changes for w in self.world.pools.values()),
            "upsAfterDowns": tally.ups_after_downs,
            "downsWithinDwell": tally.downs_within_dwell,
            "unfinished": sum(
                i.engine.in_flight for w in self.world.pools.values() for i in w.instances
                if i.engine is not None and i.phase in (Phase.READY, Phase.DRAINING)
            ),
        }  # fmt: skip
