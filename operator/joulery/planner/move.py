"""A pool on its way to its goal: what it has, what it may spare, and the writes that take it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulery.domain.fleet import ReplicaPhase, VariantState
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Knob, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.candidates import beside
from joulery.planner.replicas import Counts
from joulery.planner.sharing import Sharing
from joulery.planner.supply import FreeGpus
from joulery.planner.victims import victims
from joulery.planner.view import PoolView


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next for one pool, why nothing more, and the GPUs still free for others.

    `cramped` is set where the goal's variant finds no room and none is coming.
    """

    changes: tuple[ScaleChange, ...]
    free: FreeGpus
    verdicts: tuple[Verdict, ...] = ()
    cramped: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A pool on its way to a goal; `old` are the other variants that still have replicas."""

    view: PoolView
    variant: Variant
    goal: int
    old: tuple[Variant, ...]
    free: FreeGpus
    need_rps: float
    rates: Mapping[str, float]

    @property
    def state(self) -> VariantState:
        """The target variant's workload."""
        return self.view.state.variant(self.variant.name)

    @property
    def desired(self) -> int:
        """Replicas asked of the target variant."""
        return self.view.counts[self.variant.name].desired

    def counts(self, variant: Variant) -> Counts:
        """Replicas of a variant."""
        return self.view.counts[variant.name]

    def room(self, variant: Variant, free: FreeGpus | None = None) -> int:
        """Instances that free GPUs take beyond those asked for and not placed yet."""
        state = self.view.state.variant(variant.name)
        placed = sum(r.node is not None and r.phase is not ReplicaPhase.TERMINATING for r in state.replicas)
        waiting = max(0, self.counts(variant).desired - placed)
        return max(0, (free or self.free).slots(variant) - waiting)

    def capacity_rps(self, changed: Mapping[str, int], sharing: Sharing | None = None) -> float:
        """What ready replicas carry, with other numbers of some variants."""
        ready = {name: self.view.counts[name].serving for name in self._parties}
        return self._carried(ready | dict(changed), sharing)

    def expected_rps(self, sharing: Sharing | None = None) -> float:
        """What ready and starting replicas will carry together."""
        return self._carried({name: self.view.counts[name].expected for name in self._parties}, sharing)

    def goal_sharing(self) -> Sharing:
        """How steps on the way are judged: with spares only where the goal itself has GPUs for them."""
        alone = dict.fromkeys((v.name for v in self.old), 0) | {self.variant.name: self.goal}
        redundant = self.capacity_rps(alone) >= self.need_rps
        return self.view.sharing if redundant else self.view.sharing.without_spares()

    def change(
        self, variant: Variant, want: int, reason: str, why: str, node: str | None = None
    ) -> ScaleChange:
        """The write that takes a variant to `want` replicas."""
        seen = self.counts(variant).desired
        going = victims(self.view.state.variant(variant.name), want, prefer_node=node) if want < seen else ()
        message = f"pool {self.view.key}: {variant.name} {seen} -> {want} replicas, {why}"
        return ScaleChange(self.view.key, variant.name, variant.target, seen, want, reason, message, going)

    def grown(self, variant: Variant, more: int, reason: str, why: str) -> Steps:
        """More replicas of a variant, their GPUs taken."""
        change = self.change(variant, self.counts(variant).desired + more, reason, why)
        return Steps((change,), self.free.taken(variant, more))

    def wait(self, reason: str, why: str, *, cramped: bool = False) -> Steps:
        """Nothing now, and why."""
        goal = f"{self.goal} x {self.variant.name}"
        verdict = Verdict(reason, f"pool {self.view.key} waits on its way to {goal}: {why}")
        return Steps((), self.free, (verdict,), cramped)

    @property
    def _parties(self) -> tuple[str, ...]:
        """Variants that share the load: those that move, and those that stay as they are."""
        return (self.variant.name, *(v.name for v in self.old), *(b.variant for b in beside(self.view)))

    def _carried(self, instances: Mapping[str, int], sharing: Sharing | None) -> float:
        parties = [(n, self.rates.get(name, 0.0)) for name, n in instances.items()]
        return (sharing or self.view.sharing).capacity_rps(parties)


def move_of(view: PoolView, free: FreeGpus) -> Move | None:
    """The move to the goal in the pool's restart block; None without a goal or a knob that reaches it."""
    memory = view.past.memory
    name, goal = memory.goal_variant, memory.goal_replicas
    if name is None or goal is None or not view.pool.knobs & {Knob.REPLICAS, Knob.SHARDS}:
        return None
    if is_void(view):
        return None
    variant = next((v for v in view.pool.variants if v.name == name and view.is_free(name)), None)
    if variant is None:
        return None
    others = [v for v in view.pool.variants if v.name != name and view.is_free(v.name)]
    old = tuple(v for v in others if view.counts[v.name].desired > 0 and Knob.SHARDS in view.pool.knobs)
    rates = {r.variant: r.max_rate_rps for r in view.past.rates}
    return Move(view, variant, goal, old, free, _need_rps(view), rates)


def is_void(view: PoolView) -> bool:
    """Whether the goal is none: no replicas, planned beside some that somebody held, and those are gone or ours now."""
    return view.past.memory.goal_replicas == 0 and not beside(view)


def _need_rps(view: PoolView) -> float:
    """Load that ready replicas must carry while others move: the peak now, at their highest clock."""
    measured = view.past.last_good_demand
    load = measured.requests_per_s if measured is not None else 0.0
    return max(load, view.forecast.peak_now_rps) if view.forecast is not None else load
