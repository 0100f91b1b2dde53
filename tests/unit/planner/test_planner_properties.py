"""What holds for every load, cluster and moment: need, dwell, direction, supply, sameness."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleets import CHAT, RATES_RPS, Cluster, MadeUpCatalog, demand, poll, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import ReplicaPhase
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import ScaleChange
from joulery.planner.decide import Decision
from joulery.planner.history import History
from joulery.planner.sharing import Sharing

CODE = ObjectKey("team", "code")
DWELL_S = 600.0

quick = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
steps_rps = st.lists(st.sampled_from([0.0, 0.5, 2.0, 5.0, 9.0, 14.0, 20.0]), min_size=4, max_size=6)


@dataclass
class Run:
    """A cluster played poll by poll under a load that steps every four minutes."""

    cluster: Cluster
    history: History = field(default_factory=History.empty)
    catalog: MadeUpCatalog = field(default_factory=MadeUpCatalog)

    def step(self, rate_rps: float) -> Decision:
        decision = poll(self.cluster, rate_rps, self.history, catalog=self.catalog)
        self.history = decision.history
        return decision

    def end(self, decision: Decision) -> None:
        self.cluster.apply(decision)
        self.cluster.pass_time(15.0)


def a_run(tp: int, replicas: int, nodes: int, startup_s: float) -> Run:
    variants = tuple(variant(size, startup_s=startup_s) for size in (2, 4, 8))
    cluster = Cluster([pool(variants=variants)], nodes=nodes, startup_s=startup_s)
    return Run(cluster.run(CHAT, f"tp{tp}", replicas))


def held(loads: list[float], polls: int) -> list[float]:
    return [load for load in loads for _ in range(polls)]


def serving(cluster: Cluster) -> dict[str, int]:
    return {
        name: sum(p.phase is ReplicaPhase.READY for p in pods) for (_, name), pods in cluster.pods.items()
    }


def capacity_rps(ready: dict[str, int]) -> float:
    return Sharing().capacity_rps((n, RATES_RPS[int(name[2:])]) for name, n in ready.items())


@quick
@given(
    steps_rps,
    st.sampled_from([(2, 4), (4, 3), (8, 2)]),
    st.sampled_from([3, 6]),
    st.sampled_from([120.0, 360.0]),
)
def test_a_shrink_leaves_what_the_measured_load_needs(
    loads: list[float], start: tuple[int, int], nodes: int, startup_s: float
) -> None:
    run = a_run(*start, nodes, startup_s)
    for load in held(loads, 14):
        decision = run.step(load)
        before = capacity_rps(serving(run.cluster))
        run.end(decision)
        if any(c.want < c.seen for c in decision.changes):
            after = capacity_rps(serving(run.cluster))
            assert after >= min(load, before) - 1e-9, decision.changes


@quick
@given(steps_rps, st.sampled_from([(2, 4), (4, 3), (8, 2)]), st.sampled_from([3, 6]))
def test_nothing_is_scaled_down_within_the_dwell_after_an_up(
    loads: list[float], start: tuple[int, int], nodes: int
) -> None:
    run = a_run(*start, nodes, 120.0)
    last_up_s = -1e9
    for load in held(loads, 14):
        now_s = run.cluster.now_s
        decision = run.step(load)
        run.end(decision)
        for change in decision.changes:
            if change.want > change.seen:
                last_up_s = now_s
            elif change.reason == reasons.SCALE_DOWN:
                assert now_s - last_up_s >= DWELL_S


@quick
@given(steps_rps, st.sampled_from([(2, 4), (4, 3), (8, 2)]), st.sampled_from([3, 6]))
def test_every_change_moves_toward_the_goal(loads: list[float], start: tuple[int, int], nodes: int) -> None:
    run = a_run(*start, nodes, 120.0)
    for load in held(loads, 14):
        decision = run.step(load)
        for change in decision.changes:
            assert _distance(decision, change, change.want) < _distance(decision, change, change.seen)
        run.end(decision)


def _distance(decision: Decision, change: ScaleChange, replicas: int) -> int:
    memory = decision.history.pools[change.pool].memory
    goal = memory.goal_replicas if memory.goal_variant == change.variant else 0
    assert goal is not None
    return abs(goal - replicas)


@quick
@given(steps_rps, steps_rps, st.sampled_from([(2, 2), (4, 2), (8, 1)]), st.sampled_from([2, 3]))
def test_no_pod_is_asked_for_that_finds_no_room(
    chat: list[float], code: list[float], start: tuple[int, int], nodes: int
) -> None:
    cluster = Cluster([pool(), pool(CODE)], nodes=nodes)
    cluster.run(CHAT, f"tp{start[0]}", start[1]).run(CODE, "tp4", 1)
    history, catalog = History.empty(), MadeUpCatalog()
    for a, b in ((a, b) for a, b in zip(chat, code, strict=False) for _ in range(14)):
        both = {key: demand(rate, at_s=cluster.now_s, key=key) for key, rate in ((CHAT, a), (CODE, b))}
        decision = poll(cluster, both, history, catalog=catalog)
        history = decision.history
        cluster.apply(decision)
        cluster.pass_time(15.0)
        assert not [p for pods in cluster.pods.values() for p in pods if p.node is None]


@quick
@given(steps_rps, st.sampled_from([(2, 4), (4, 3), (8, 2)]))
def test_the_same_input_gives_the_same_decision(loads: list[float], start: tuple[int, int]) -> None:
    first, second = a_run(*start, 6, 120.0), a_run(*start, 6, 120.0)
    for rate in held(loads, 8):
        one, other = first.step(rate), second.step(rate)
        assert (one.plan, one.changes, one.directives, one.step_id) == (
            other.plan,
            other.changes,
            other.directives,
            other.step_id,
        )
        assert one.findings == other.findings
        first.end(one)
        second.end(other)


@quick
@given(st.floats(0.5, 20.0), st.sampled_from([(2, 4), (4, 3), (8, 2)]))
def test_a_plan_holds_the_planned_peak_where_gpus_suffice(rate_rps: float, start: tuple[int, int]) -> None:
    run = a_run(*start, 12, 120.0)
    decision = run.step(rate_rps)
    part = decision.plan.pool(CHAT)
    assert part is not None
    assert part.capacity_rps >= part.planned_rate_rps > rate_rps


@quick
@given(steps_rps, st.sampled_from([(2, 4), (4, 3), (8, 2)]))
def test_no_target_is_written_twice_under_one_step_id(loads: list[float], start: tuple[int, int]) -> None:
    run = a_run(*start, 3, 120.0)
    seen: set[tuple[str, str]] = set()
    for rate in held(loads, 14):
        decision = run.step(rate)
        for change in decision.changes:
            name = (decision.step_id, str(change.target))
            assert name not in seen
            seen.add(name)
        run.end(decision)


@quick
@given(steps_rps, st.sampled_from([(2, 4), (4, 3), (8, 2)]), st.integers(0, 60))
def test_a_restart_takes_nothing_away(loads: list[float], start: tuple[int, int], killed_at: int) -> None:
    run = a_run(*start, 6, 120.0)
    for i, rate in enumerate(held(loads, 14)):
        if i == killed_at:
            run.history = History.restored(
                {CHAT: run.history.pools[CHAT].memory} if run.history.pools else {}
            )
        decision = run.step(rate)
        if killed_at <= i < killed_at + 20:
            assert not [c for c in decision.changes if c.reason == reasons.SCALE_DOWN]
        run.end(decision)
