"""The loop under demand, faults and delays in any order: it neither oscillates nor starves, and it settles."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fleets import CHAT, PROFILES, START_S, MadeUpCatalog, demand, policy, pool, variant
from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import ConditionType, Verdict
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History
from rough_cluster import RoughCluster, carried_rps

CODE = ObjectKey("team", "code")
KEYS = (CHAT, CODE)
NODES = tuple(f"node-{i}" for i in range(5))
POLL_S, EPOCH_S, DWELL_S = 15.0, 300.0, 600.0
# Samples are remembered for so long, and variants that found no room are blocked for as long.
FORECAST_S = 1800.0
MEMORY_EPOCHS = 8
# Halving from a dozen to one takes four steps, each after the epoch that allows it.
SETTLING_EPOCHS = MEMORY_EPOCHS + 8
QUIET_EPOCHS = 4
# Both pools at once take 36 of the 40 GPUs at this load, the redundancy of one of them included.
HIGHEST_RPS = 15.0
HELD = Verdict(reasons.FOREIGN_SCALER, "a HorizontalPodAutoscaler targets it")
STALE = Verdict(reasons.METRICS_STALE, "no sample for 90 s")

keys = st.sampled_from(KEYS)
nodes = st.sampled_from(NODES)
loads = st.sampled_from([0.0, 0.5, 2.0, 4.0, 7.0, 11.0, HIGHEST_RPS])
waits = st.sampled_from([0, 1, 2, 5, 12, 25, 45])
names = st.sampled_from(["tp2", "tp4", "tp8"])


class Loop(RuleBasedStateMachine):
    """`decide`, poll by poll, on a cluster where everything may go wrong between two polls."""

    def __init__(self) -> None:
        super().__init__()
        variants = tuple(variant(tp) for tp in (2, 4, 8))
        self.cluster = RoughCluster(
            (pool(CHAT, variants=variants), pool(CODE, variants=variants, spare_instances=1)), NODES, START_S
        )
        self.catalog = MadeUpCatalog()
        self.history = History.empty()
        self.rates = dict.fromkeys(KEYS, 3.0)
        self.ramps = dict.fromkeys(KEYS, 0.0)
        self.noise = 0.0
        self.dice = np.random.default_rng(0)
        self.stale: dict[ObjectKey, int] = {}
        self.lost_writes = 0
        self.disturbed_s = START_S
        self.writes: deque[tuple[float, ScaleChange]] = deque(maxlen=64)

    @initialize(
        chat=st.sampled_from([("tp8", 1), ("tp4", 2), ("tp2", 4)]),
        code=st.sampled_from([("tp8", 2), ("tp2", 3)]),
    )
    def begin(self, chat: tuple[str, int], code: tuple[str, int]) -> None:
        self.cluster.begin(CHAT, *chat)
        self.cluster.begin(CODE, *code)

    # Demand

    @rule(key=keys, rate=loads, polls=waits)
    def step(self, key: ObjectKey, rate: float, polls: int) -> None:
        self.rates[key], self.ramps[key] = rate, 0.0
        self._then(polls)

    @rule(key=keys, slope=st.sampled_from([-0.02, 0.01, 0.03]), polls=waits)
    def ramp(self, key: ObjectKey, slope: float, polls: int) -> None:
        self.ramps[key] = slope
        self._then(polls)

    @rule(share=st.sampled_from([0.0, 0.1, 0.3]), polls=waits)
    def noisier(self, share: float, polls: int) -> None:
        self.noise = share
        self._then(polls)

    # Faults

    @rule(key=keys, silent=st.integers(1, 40), polls=waits)
    def metrics_go_stale(self, key: ObjectKey, silent: int, polls: int) -> None:
        self.stale[key] = silent
        self._then(polls)

    @rule(node=nodes, polls=waits)
    def cordon(self, node: str, polls: int) -> None:
        self.cluster.cordoned ^= {node}
        self._then(polls)

    @rule(node=nodes, polls=waits)
    def lose_or_regain_a_node(self, node: str, polls: int) -> None:
        if node in self.cluster.lost:
            self.cluster.lost.remove(node)
        elif not self.cluster.lost:
            self.cluster.foreign.pop(node, None)
            self.cluster.lose(node)
        self._then(polls)

    @rule(node=nodes, gpus=st.sampled_from([0, 2, 4, 8]), polls=waits)
    def others_take_what_is_free(self, node: str, gpus: int, polls: int) -> None:
        free = self.cluster.free().get(node, 0) + self.cluster.foreign.get(node, 0)
        self.cluster.foreign[node] = min(gpus, free)
        self._then(polls)

    @rule(key=keys, name=names, polls=waits)
    def no_node_takes_a_variant(self, key: ObjectKey, name: str, polls: int) -> None:
        self.cluster.barred ^= {(key, name)}
        self._then(polls)

    @rule(seconds=st.sampled_from([60.0, 120.0, 360.0, 900.0]), polls=waits)
    def starts_take(self, seconds: float, polls: int) -> None:
        self.cluster.starts_s = seconds
        self._then(polls)

    @rule(key=keys, name=names, polls=waits)
    def hold_or_release_a_variant(self, key: ObjectKey, name: str, polls: int) -> None:
        if self.cluster.holds.pop((key, name), None) is None:
            self.cluster.holds[key, name] = HELD
        self._then(polls)

    @rule(writes=st.integers(1, 4), polls=waits)
    def writes_get_lost(self, writes: int, polls: int) -> None:
        self.lost_writes = writes
        self._then(polls)

    @rule(polls=waits)
    def the_operator_restarts(self, polls: int) -> None:
        self.history = History.restored({k: p.memory for k, p in self.history.pools.items()})
        self._then(polls)

    # Time

    @rule(polls=waits)
    def time_passes(self, polls: int) -> None:
        self._pass(polls)

    def _then(self, polls: int) -> None:
        self.disturbed_s = self.cluster.now_s
        self._pass(polls)

    def _pass(self, polls: int) -> None:
        for _ in range(polls):
            self.poll()

    def poll(self) -> Decision:
        """One cycle of the loop."""
        now_s = self.cluster.now_s
        measured = {key: self._measured(key, now_s) for key in KEYS}
        fleet = self.cluster.fleet()
        decision = decide(fleet, measured, (policy(),), PROFILES, self.history, catalog=self.catalog)  # type: ignore[arg-type]
        self.history = decision.history
        before = {key: carried_rps(self.cluster.ready(key)) for key in KEYS}
        taken = [c for c in decision.changes if not self._is_lost()]
        self.cluster.carry_out(taken)
        self._judge(decision, before, now_s)
        self.writes.extend((now_s, c) for c in taken)
        self.cluster.pass_time(POLL_S)
        return decision

    def _measured(self, key: ObjectKey, now_s: float) -> Demand:
        self.rates[key] = min(HIGHEST_RPS, max(0.0, self.rates[key] + self.ramps[key]))
        if self.stale.get(key, 0) > 0:
            self.stale[key] -= 1
            return demand(0.0, at_s=now_s, key=key, problem=STALE)
        noisy = self.rates[key] * (1.0 + self.noise * float(self.dice.standard_normal()))
        return demand(max(0.0, noisy), at_s=now_s, key=key)

    def _is_lost(self) -> bool:
        self.lost_writes -= 1
        return self.lost_writes >= 0

    # What must hold at every poll

    def _judge(self, decision: Decision, before: dict[ObjectKey, float], now_s: float) -> None:
        for change in decision.changes:
            if change.want < change.seen:
                self._never_below_need(change, before[change.pool])
                assert self.stale.get(change.pool, 0) == 0, f"taken away without metrics: {change}"
            self._no_oscillation(change, now_s)
        for key in KEYS:
            asked = sum(n for (owner, _), n in self.cluster.desired.items() if owner == key)
            assert asked >= 1, f"{key} has nothing left"

    def _never_below_need(self, change: ScaleChange, before_rps: float) -> None:
        last = self.history.pools[change.pool].last_good_demand
        need_rps = last.requests_per_s if last is not None else 0.0
        left_rps = carried_rps(self.cluster.ready(change.pool))
        assert left_rps >= min(need_rps, before_rps) - 1e-9, (
            f"{left_rps} of {need_rps} requests/s left: {change}"
        )

    def _no_oscillation(self, change: ScaleChange, now_s: float) -> None:
        """Nothing that was given is taken back within the dwell, nor the other way round, unless disturbed."""
        for at_s, earlier in self.writes:
            if (earlier.pool, earlier.variant) != (change.pool, change.variant):
                continue
            turned = (earlier.want > earlier.seen) != (change.want > change.seen)
            undisturbed = self.disturbed_s < at_s - FORECAST_S and self._is_calm()
            assert not (turned and undisturbed and now_s - at_s < DWELL_S), f"{earlier} and then {change}"

    def _is_calm(self) -> bool:
        """No fault stands and no load is on the move, so that nothing excuses a change of mind."""
        faults = (self.cluster.barred, self.cluster.holds, any(self.stale.values()), self.lost_writes > 0)
        return not any(faults) and not any(self.ramps.values()) and not self.noise

    # What must hold in the end

    def teardown(self) -> None:
        """All is mended and the load stays as it is: the loop settles on what serves it, and stays.

        On its goal, or half-way there where that carries the load and no GPUs are left for the rest of the way. Where a
        cluster came to be full in such a way that every step takes away first what the load needs, a pool stays short
        and says so: capacity is never lent for a better layout.
        """
        self._mend()
        for _ in range(round(SETTLING_EPOCHS * EPOCH_S / POLL_S)):
            self.poll()
        quiet = [self.poll() for _ in range(round(QUIET_EPOCHS * EPOCH_S / POLL_S))]
        late = [c for decision in quiet for c in decision.changes]
        assert not late, f"still moving: {late}"
        for key in KEYS:
            is_carried = carried_rps(self.cluster.ready(key)) >= self.rates[key]
            is_full = not any(self.cluster.free().values())
            assert is_carried or (is_full and _is_short_of_gpus(quiet[-1], key)), f"{key} is short"
            goal = self.history.pools[key].memory
            asked = {n: r for (owner, n), r in self.cluster.desired.items() if owner == key and r}
            is_there = goal.goal_variant is None or asked == {goal.goal_variant: goal.goal_replicas}
            is_told = _is_short_of_gpus(quiet[-1], key) or (is_full and _finds_no_room(quiet[-1], key))
            assert is_there or is_told, (asked, goal)

    def _mend(self) -> None:
        self.cluster.lost.clear()
        self.cluster.cordoned.clear()
        self.cluster.foreign.clear()
        self.cluster.barred.clear()
        self.cluster.holds.clear()
        self.cluster.starts_s = 120.0
        self.stale.clear()
        self.lost_writes = 0
        self.noise = 0.0
        self.ramps = dict.fromkeys(KEYS, 0.0)
        self.disturbed_s = self.cluster.now_s


def _is_short_of_gpus(decision: Decision, key: ObjectKey) -> bool:
    return _told(decision, key, ConditionType.FEASIBLE) == [reasons.INSUFFICIENT_GPUS]


def _finds_no_room(decision: Decision, key: ObjectKey) -> bool:
    """Whether a goal that suffices in number was just asked for again, and the way there is still closed."""
    return _told(decision, key, ConditionType.ACTUATED) == [reasons.INSUFFICIENT_GPUS]


def _told(decision: Decision, key: ObjectKey, condition: ConditionType) -> list[str]:
    return [f.verdict.reason for f in decision.findings[key] if f.condition is condition]


def run(examples: int, steps: int, **options: Any) -> None:
    run_state_machine_as_test(
        Loop,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


def test_the_loop_is_stable() -> None:
    run(examples=6, steps=20, derandomize=True, database=None)


@pytest.mark.soak
def test_the_loop_is_stable_for_long() -> None:
    run(examples=300, steps=60, print_blob=True)
