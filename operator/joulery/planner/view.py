"""One pool as the planner sees it: specification, observation, load, bounds and memory side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet, PoolState, VariantState
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import Derate
from joulery.domain.policy import ClockBounds, Policy, governing
from joulery.domain.pool import Knob, Mode, Pool, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.forecast import Forecast
from joulery.planner.history import History, Mark, PoolHistory
from joulery.planner.limits import rooms
from joulery.planner.replicas import Counts, count
from joulery.planner.settings import PlannerSettings
from joulery.planner.sharing import Sharing
from joulery.planner.unseen import unseen_replicas
from joulery.serving.parameters import EngineProfile

ALL_KNOBS = frozenset(Knob)


@dataclass(frozen=True, slots=True)
class PoolView:
    """Everything known of one pool at one poll; `demand` is None where nothing was ever measured.

    `rooms` holds the most instances of those variants that a quota or closed nodes bound; `unseen` tells of
    ready replicas whose load is missing from the demand.
    """

    state: PoolState
    mode: Mode
    ceiling: Verdict | None
    policy: Policy | None
    profile: EngineProfile | None
    demand: Demand | None
    past: PoolHistory
    forecast: Forecast | None
    counts: Mapping[str, Counts]
    rooms: Mapping[str, int] = field(default_factory=dict)
    unseen: Verdict | None = None

    @property
    def pool(self) -> Pool:
        """The pool's specification."""
        return self.state.pool

    @property
    def key(self) -> ObjectKey:
        """The pool's key."""
        return self.state.pool.key

    @property
    def acts(self) -> bool:
        """Whether anything may be changed."""
        return self.mode is Mode.ACT

    @property
    def is_stale(self) -> bool:
        """Whether the newest demand must not be planned on."""
        return self.demand is None or self.demand.problem is not None

    @property
    def may_shrink(self) -> bool:
        """Whether the newest demand is the whole of it, so that something may be taken away."""
        return not self.is_stale and self.unseen is None

    @property
    def sharing(self) -> Sharing:
        """How load lies on the pool's instances, how many of them may be lost, and how many come on top."""
        traffic = self.past.traffic
        added = self.past.memory.reinforcement.instances
        return Sharing(traffic.unevenness if traffic is not None else 1.0, self.pool.spare_instances, added)

    def derate(self, variant: str) -> Derate:
        """What a variant's profile is worth; one never judged is no better than the worst that was.

        Else the planner would flee from what it has learned to what it has not.
        """
        content = self.profile.content_hash if self.profile is not None else None
        known = {v.variant: v.derate for v in self.past.memory.variants if v.derate.profile is not None}
        judged = {name: derate for name, derate in known.items() if derate.profile == content}
        if variant in judged:
            return judged[variant]
        return Derate(min((d.share for d in judged.values()), default=1.0), profile=content)

    @property
    def knobs(self) -> frozenset[Knob]:
        """Knobs a plan may move: those named; a recommendation without any named shows what all would do."""
        if self.mode is Mode.RECOMMEND and not self.pool.knobs:
            return ALL_KNOBS
        return self.pool.knobs

    def has(self, knob: Knob) -> bool:
        """Whether a plan may move that knob."""
        return knob in self.knobs

    def variants(self) -> tuple[tuple[Variant, VariantState], ...]:
        """Each variant with its workload's state."""
        return tuple((v, self.state.variant(v.name)) for v in self.pool.variants)

    def is_free(self, name: str) -> bool:
        """Whether a variant's workload exists and may be written."""
        state = self.state.variant(name)
        return state.hold is None and state.desired is not None

    def clock_bounds(self, accelerator: str) -> ClockBounds | None:
        """The policy's bounds on one accelerator."""
        return self.policy.clock_bounds(accelerator) if self.policy is not None else None

    def mark(self) -> Mark:
        """What a plan made now is made for."""
        held = tuple(s.variant for s in self.state.variants if s.hold is not None or s.desired is None)
        content = self.profile.content_hash if self.profile is not None else None
        return Mark(self.pool.generation, str(self.mode), self.policy, content, held)


def effective_mode(pool: Pool, policy: Policy | None) -> tuple[Mode, Verdict | None]:
    """The mode under its ceiling, and why it is lower than asked for."""
    ceiling = policy.max_mode if policy is not None else Mode.RECOMMEND
    if pool.mode.rank <= ceiling.rank:
        return pool.mode, None
    if policy is None:
        message = (
            f"pool {pool.key} asks for {pool.mode} but no EnergyPolicy governs namespace "
            f"{pool.key.namespace}, so it gets {ceiling}; create an EnergyPolicy whose maxMode is {pool.mode}"
        )
        return ceiling, Verdict(reasons.NO_POLICY, message)
    message = (
        f"pool {pool.key} asks for {pool.mode} but EnergyPolicy {policy.name} allows at most {ceiling}; "
        f"raise its maxMode or lower the pool's mode"
    )
    return ceiling, Verdict(reasons.MODE_CEILING, message)


def view_pools(
    fleet: Fleet,
    demand: Mapping[ObjectKey, Demand],
    policies: Sequence[Policy],
    profiles: Mapping[str, EngineProfile],
    history: History,
    settings: PlannerSettings,
) -> tuple[PoolView, ...]:
    """Views of all pools in the order of the snapshot; forecasts come later, with the new samples."""
    views = (_view(state, fleet, demand, policies, profiles, history, settings) for state in fleet.pools)
    bounds = rooms(fleet)
    return tuple(replace(v, rooms=_of_pool(bounds, v.key)) if bounds else v for v in views)


def _of_pool(bounds: Mapping[tuple[ObjectKey, str], int], key: ObjectKey) -> dict[str, int]:
    return {name: room for (pool, name), room in bounds.items() if pool == key}


def _view(
    state: PoolState,
    fleet: Fleet,
    demand: Mapping[ObjectKey, Demand],
    policies: Sequence[Policy],
    profiles: Mapping[str, EngineProfile],
    history: History,
    settings: PlannerSettings,
) -> PoolView:
    pool = state.pool
    policy = governing(policies, pool.key.namespace)
    mode, ceiling = effective_mode(pool, policy)
    past = history.pool(pool.key, fleet.observed_at_s)
    counts = {
        v.name: count(
            state.variant(v.name),
            now_s=fleet.observed_at_s,
            startup_s=past.startup_s(v.name, v.startup_s),
            settings=settings,
        )
        for v in pool.variants
    }
    return PoolView(
        state=state,
        mode=mode,
        ceiling=ceiling,
        policy=policy,
        profile=profiles.get(pool.profile_name),
        demand=demand.get(pool.key),
        past=past,
        forecast=None,
        counts=counts,
        unseen=unseen_replicas(state, fleet.observed_at_s, settings),
    )
