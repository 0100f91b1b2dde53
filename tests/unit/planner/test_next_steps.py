"""From any snapshot towards any goal: what the next writes of one pool never do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleets import CHAT, PROFILES, RATES_RPS, START_S, demand, policy, pool, variant
from joulery.domain import reasons
from joulery.domain.fleet import Fleet, ReplicaPhase
from joulery.domain.memory import PoolMemory, Reinforcement
from joulery.domain.verdict import Verdict
from joulery.planner.history import History, PoolHistory, VariantRate
from joulery.planner.reshard import next_steps
from joulery.planner.settings import PlannerSettings
from joulery.planner.supply import FreeGpus
from joulery.planner.view import PoolView, view_pools
from rough_cluster import RoughCluster, carried_rps

SIZES = (2, 4, 8)
NAMES = tuple(f"tp{size}" for size in SIZES)
NODES = tuple(f"node-{i}" for i in range(4))
HELD = Verdict(reasons.FOREIGN_SCALER, "a HorizontalPodAutoscaler targets it")
STALE = Verdict(reasons.METRICS_STALE, "no sample for 90 s")
# Ages of pods: just created, on their way, and far beyond twice the start-up time.
AGES_S = (10.0, 100.0, 2000.0)

phases = st.sampled_from([ReplicaPhase.READY, ReplicaPhase.STARTING, ReplicaPhase.UNSCHEDULED])
pods = st.lists(st.tuples(phases, st.sampled_from(AGES_S)), max_size=4)


@dataclass(frozen=True, slots=True)
class Moment:
    """One pool at one poll, on the way to a goal."""

    pods: tuple[list[tuple[ReplicaPhase, float]], ...]
    goal: tuple[str, int]
    load_rps: float
    spares: int
    added: int
    held: str | None
    foreign: int
    stale: bool

    def cluster(self) -> RoughCluster:
        """Pods where there is room for them; those that find none have no node, whatever they were to be."""
        spec = pool(CHAT, variants=tuple(variant(size) for size in SIZES), spare_instances=self.spares)
        cluster = RoughCluster((spec,), NODES, START_S, foreign=dict.fromkeys(NODES[:2], self.foreign))
        for name, wanted in zip(NAMES, self.pods, strict=True):
            cluster.desired[CHAT, name] = len(wanted)
        cluster.pass_time(0.0)
        for name, wanted in zip(NAMES, self.pods, strict=True):
            born = cluster.pods[CHAT, name]
            cluster.pods[CHAT, name] = [
                replace(
                    pod,
                    phase=phase if pod.node is not None else ReplicaPhase.UNSCHEDULED,
                    node=None if phase is ReplicaPhase.UNSCHEDULED else pod.node,
                    created_s=START_S - age_s,
                    ready_since_s=START_S - age_s / 2 if phase is ReplicaPhase.READY else None,
                )
                for pod, (phase, age_s) in zip(born, wanted, strict=True)
            ]
        if self.held is not None:
            cluster.holds[CHAT, self.held] = HELD
        return cluster

    def view(self, fleet: Fleet) -> PoolView:
        """What the planner sees of it."""
        memory = PoolMemory(
            goal_variant=self.goal[0],
            goal_replicas=self.goal[1],
            reinforcement=Reinforcement(self.added),
        )
        past = PoolHistory(
            START_S - 3600.0,
            memory,
            rates=tuple(VariantRate(f"tp{size}", rate, rate) for size, rate in RATES_RPS.items()),
            last_good_demand=demand(self.load_rps),
        )
        seen = {CHAT: demand(self.load_rps, problem=STALE if self.stale else None)}
        history = History(pools={CHAT: past})
        (view,) = view_pools(fleet, seen, (policy(),), PROFILES, history, PlannerSettings())
        return view


moments = st.builds(
    Moment,
    pods=st.tuples(pods, pods, pods),
    goal=st.tuples(st.sampled_from(NAMES), st.integers(0, 5)),
    load_rps=st.sampled_from([0.0, 0.5, 2.0, 4.0, 7.0, 11.0, 15.0]),
    spares=st.integers(0, 2),
    added=st.integers(0, 1),
    held=st.sampled_from([None, None, *NAMES]),
    foreign=st.sampled_from([0, 4, 6, 8]),
    stale=st.sampled_from([False, False, False, True]),
)


# Three of TP2 have just become ready, the goal's TP8 finds no node, and what is of TP4 starts.
COLD = Moment(
    pods=(
        [(ReplicaPhase.READY, 10.0)] * 3,
        [(ReplicaPhase.STARTING, 100.0)],
        [(ReplicaPhase.UNSCHEDULED, 2000.0)],
    ),
    goal=("tp8", 1),
    load_rps=0.5,
    spares=0,
    added=0,
    held=None,
    foreign=8,
    stale=False,
)


@settings(max_examples=400, deadline=None)
@given(moments)
@example(COLD)
@example(replace(COLD, held="tp4"))
# The plan was made while an autoscaler held all that was needed, which it holds no more.
@example(
    replace(COLD, pods=([], [(ReplicaPhase.READY, 2000.0)], []), goal=("tp2", 0), load_rps=0.0, foreign=0)
)
def test_writes_leave_what_the_load_needs_and_something_to_come_back_with(moment: Moment) -> None:
    cluster = moment.cluster()
    fleet = cluster.fleet()
    view = moment.view(fleet)
    steps = next_steps(view, FreeGpus.of(fleet).seen_from(view.state))
    before_rps, asked = carried_rps(cluster.ready(CHAT)), sum(cluster.desired.values())
    cluster.carry_out(steps.changes)
    downs = [change for change in steps.changes if change.want < change.seen]
    assert not (downs and moment.stale), downs
    if downs:
        assert carried_rps(cluster.ready(CHAT)) >= min(moment.load_rps, before_rps) - 1e-9, downs
    assert sum(cluster.desired.values()) >= min(1, asked), downs
