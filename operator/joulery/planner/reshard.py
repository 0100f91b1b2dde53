"""From goal and observation to the next changes of `/scale`: no state of its own, so a restart needs only
the cluster.

Resharding surges the target variant, waits until it is ready, and then shrinks the old one, never by more
than what the replicas that stay ready can carry. On a full cluster it shrinks first, where that same bound
allows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from joulery.domain import reasons
from joulery.domain.fleet import ReplicaPhase, VariantState
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Knob, Variant
from joulery.domain.verdict import Verdict
from joulery.planner.candidates import beside
from joulery.planner.supply import FreeGpus
from joulery.planner.victims import crowded_node, victims
from joulery.planner.view import PoolView


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do next for one pool, why nothing more, and the GPUs still free for others."""

    changes: tuple[ScaleChange, ...]
    free: FreeGpus
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True)
class _Move:
    """A pool on its way to a goal; `old` are the other variants that still have replicas."""

    view: PoolView
    variant: Variant
    goal: int
    old: tuple[Variant, ...]
    free: FreeGpus
    need_rps: float
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def state(self) -> VariantState:
        """The target variant's workload."""
        return self.view.state.variant(self.variant.name)

    @property
    def desired(self) -> int:
        """Replicas asked of the target variant."""
        return self.view.counts[self.variant.name].desired

    def capacity_rps(self, changed: dict[str, int]) -> float:
        """What ready replicas carry, with other numbers of some variants."""
        serving = {v.name: self.view.counts[v.name].serving for v in (self.variant, *self.old)} | changed
        parties = [(n, self.rates.get(name, 0.0)) for name, n in serving.items()]
        parties += [(b.instances, self.rates.get(b.variant, 0.0)) for b in beside(self.view)]
        return self.view.sharing.capacity_rps(parties)

    def change(
        self, variant: Variant, want: int, reason: str, why: str, node: str | None = None
    ) -> ScaleChange:
        """The write that takes a variant to `want` replicas."""
        seen = self.view.counts[variant.name].desired
        going = victims(self.view.state.variant(variant.name), want, prefer_node=node) if want < seen else ()
        message = f"pool {self.view.key}: {variant.name} {seen} -> {want} replicas, {why}"
        return ScaleChange(self.view.key, variant.name, variant.target, seen, want, reason, message, going)


def next_steps(view: PoolView, free: FreeGpus) -> Steps:
    """The next changes of one pool; none without a goal, without a knob, or while waiting."""
    move = _move(view, free)
    if move is None:
        return Steps((), free)
    if not view.acts:
        return _finish_upwards(move)
    if move.old:
        return _reshard(move)
    return _scale(move)


def _move(view: PoolView, free: FreeGpus) -> _Move | None:
    memory = view.past.memory
    name, goal = memory.goal_variant, memory.goal_replicas
    if name is None or goal is None or not view.pool.knobs & {Knob.REPLICAS, Knob.SHARDS}:
        return None
    variant = next((v for v in view.pool.variants if v.name == name and view.is_free(name)), None)
    if variant is None:
        return None
    old = [v for v in view.pool.variants if v.name != name and view.is_free(v.name)]
    running = tuple(v for v in old if view.counts[v.name].desired > 0 and Knob.SHARDS in view.pool.knobs)
    rates = {r.variant: r.max_rate_rps for r in view.past.rates}
    return _Move(view, variant, goal, running, free, _need_rps(view), rates)


def _need_rps(view: PoolView) -> float:
    """Load that ready replicas must carry while others move."""
    measured = view.past.last_good_demand
    load = measured.requests_per_s if measured is not None else 0.0
    return max(load, view.forecast.peak_now_rps) if view.forecast is not None else load


def _finish_upwards(move: _Move) -> Steps:
    """No longer in Act: a reshard left half-way is completed only where load would be unserved."""
    counts = move.view.counts
    coming = {v.name: counts[v.name].expected for v in (move.variant, *move.old)}
    if not move.old or move.desired >= move.goal or move.capacity_rps(coming) >= move.need_rps:
        return Steps((), move.free)
    why = "to finish a reshard upwards, for what is left does not carry the load"
    return Steps((move.change(move.variant, move.goal, reasons.RESHARD_SURGE, why),), move.free)


def _scale(move: _Move) -> Steps:
    if move.goal > move.desired:
        more = min(move.goal - move.desired, _room(move))
        if more <= 0:
            return _wait(move, reasons.SCALING, "it waits for GPUs that others give back")
        change = move.change(move.variant, move.desired + more, reasons.SCALE_UP, f"goal {move.goal}")
        return Steps((change,), move.free.taken(move.variant, more))
    if move.goal == move.desired:
        return Steps((), move.free)
    return _scale_down(move)


def _scale_down(move: _Move) -> Steps:
    if move.view.is_stale:
        return Steps((), move.free)
    counts = move.view.counts[move.variant.name]
    if counts.coming:
        return _wait(move, reasons.SCALING, f"{counts.coming} of {move.variant.name} are starting")
    # Absent pods go first and carry nothing; every ready one that goes must be spare.
    for want in range(move.goal, move.desired):
        ready = min(counts.serving, want)
        if ready == counts.serving or move.capacity_rps({move.variant.name: ready}) >= move.need_rps:
            change = move.change(move.variant, want, reasons.SCALE_DOWN, f"goal {move.goal}")
            return Steps((change,), move.free)
    return _wait(move, reasons.BELOW_OBSERVED_NEED, f"{move.need_rps:.2f} requests/s need all {move.desired}")


def _reshard(move: _Move) -> Steps:
    surge = _surge(move)
    if surge is not None:
        return surge
    coming = move.view.counts[move.variant.name].coming
    if coming:
        return _wait(move, reasons.RESHARDING, f"{coming} of {move.variant.name} are starting")
    if move.view.is_stale:
        return _wait(move, reasons.RESHARDING, "metrics are not to be trusted, so nothing is taken away")
    if move.desired < move.goal:
        return _shrink_first(move)
    return _shrink(move)


def _surge(move: _Move) -> Steps | None:
    """More of the target variant, as many as free GPUs allow and the mixed pool can bear."""
    more = min(move.goal - move.desired, _room(move))
    if more <= 0:
        return None
    want = move.desired + more
    if _drags_down(move, want):
        return None
    change = move.change(
        move.variant, want, reasons.RESHARD_SURGE, f"goal {move.goal}, before the old ones go"
    )
    return Steps((change,), move.free.taken(move.variant, more))


def _room(move: _Move) -> int:
    """Instances that free GPUs take beyond those asked for and not placed yet."""
    placed = sum(r.node is not None and r.phase is not ReplicaPhase.TERMINATING for r in move.state.replicas)
    return max(0, move.free.slots(move.variant) - max(0, move.desired - placed))


def _drags_down(move: _Move, want: int) -> bool:
    """Whether so many weak replicas beside strong ones carry less than the need: all get the same share."""
    mixed = move.capacity_rps({move.variant.name: want})
    return mixed < move.need_rps and mixed < move.capacity_rps({})


def _shrink(move: _Move) -> Steps:
    """As many of the old ones as the ready ones can spare, all at best."""
    for variant in move.old:
        counts = move.view.counts[variant.name]
        for want in range(counts.desired):
            if (
                move.capacity_rps({variant.name: min(want, counts.serving)}) >= move.need_rps
                or not counts.serving
            ):
                change = move.change(variant, want, reasons.RESHARD_SHRINK, f"{move.variant.name} is ready")
                return Steps((change,), move.free)
    return _wait(move, reasons.RESHARDING, f"{move.need_rps:.2f} requests/s need the old replicas still")


def _shrink_first(move: _Move) -> Steps:
    """Room for one instance of the target variant on a full cluster."""
    states = [(move.view.state.variant(v.name), v.tensor_parallel_size) for v in move.old]
    same = [v for v in move.old if v.accelerator == move.variant.accelerator]
    gpus = move.variant.tensor_parallel_size
    node = crowded_node(states, move.free.by_node(move.variant.accelerator), gpus)
    if not same or node is None:
        return _wait(move, reasons.INSUFFICIENT_GPUS, f"no node can make room for {gpus} GPUs")
    old = max(same, key=lambda v: sum(r.node == node for r in move.view.state.variant(v.name).replicas))
    missing = gpus - move.free.by_node(move.variant.accelerator).get(node, 0)
    counts = move.view.counts[old.name]
    going = -(-missing // old.tensor_parallel_size)
    if counts.desired < len(move.view.state.variant(old.name).replicas):
        return _wait(move, reasons.RESHARDING, f"{old.name} is still making room")
    want = counts.desired - going
    if going <= 0 or want < 0 or move.capacity_rps({old.name: min(want, counts.serving)}) < move.need_rps:
        return _wait(
            move, reasons.INSUFFICIENT_GPUS, f"the rest would not carry {move.need_rps:.2f} requests/s"
        )
    why = f"shrunk first to make room for {move.variant.name} on {node}, for no GPUs are free"
    return Steps((move.change(old, want, reasons.RESHARD_SHRINK, why, node),), move.free)


def _wait(move: _Move, reason: str, why: str) -> Steps:
    goal = f"{move.goal} x {move.variant.name}"
    return Steps((), move.free, (Verdict(reason, f"pool {move.view.key} waits on its way to {goal}: {why}"),))
