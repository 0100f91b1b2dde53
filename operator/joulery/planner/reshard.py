"""From goal and observation to the next changes of `/scale`: no state of its own, so a restart needs only
the cluster.

Resharding surges the target variant, waits until it is ready, and then shrinks the old one, never by more
than what the replicas that stay ready can carry. On a full cluster it shrinks first, where that same bound
allows it.
"""

from __future__ import annotations

from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.plan import ScaleChange
from joulery.domain.pool import Variant
from joulery.planner.full_cluster import hold_load, make_room
from joulery.planner.move import Move, Steps, move_of
from joulery.planner.supply import FreeGpus
from joulery.planner.view import PoolView


def next_steps(view: PoolView, free: FreeGpus) -> Steps:
    """The next changes of one pool; none without a goal, without a knob, or while waiting."""
    move = move_of(view, free)
    if move is None:
        return Steps((), free)
    if not view.acts:
        return _finish_upwards(move)
    if move.old:
        return _reshard(move)
    return _scale(move)


def _finish_upwards(move: Move) -> Steps:
    """No longer in Act: a reshard left half-way is completed only where load would be unserved."""
    if not move.old or move.desired >= move.goal or move.expected_rps() >= move.need_rps:
        return Steps((), move.free)
    why = "to finish a reshard upwards, for what is left does not carry the load"
    return Steps((move.change(move.variant, move.goal, reasons.RESHARD_SURGE, why),), move.free)


def _scale(move: Move) -> Steps:
    if move.goal > move.desired:
        more = min(move.goal - move.desired, move.room(move.variant))
        if more > 0:
            return move.grown(move.variant, more, reasons.SCALE_UP, f"goal {move.goal}")
        is_coming = move.room(move.variant, move.free.with_coming()) > 0
        return move.wait(reasons.SCALING, "it waits for GPUs that others give back", cramped=not is_coming)
    if move.goal == move.desired:
        return Steps((), move.free)
    return _scale_down(move)


def _scale_down(move: Move) -> Steps:
    if not move.view.may_shrink:
        return Steps((), move.free)
    counts = move.counts(move.variant)
    if counts.coming:
        return move.wait(reasons.SCALING, f"{counts.coming} of {move.variant.name} are starting")
    # Absent pods go first and carry nothing; every ready one that goes must be spare.
    for want in range(move.goal, move.desired):
        ready = min(counts.serving, want)
        if ready == counts.serving or move.capacity_rps({move.variant.name: ready}) >= move.need_rps:
            change = move.change(move.variant, want, reasons.SCALE_DOWN, f"goal {move.goal}")
            return Steps((change,), move.free)
    return move.wait(reasons.BELOW_OBSERVED_NEED, f"{move.need_rps:.2f} requests/s need all {move.desired}")


def _reshard(move: Move) -> Steps:
    steps = _onwards(move)
    written = {change.variant for change in steps.changes}
    going = [c for c in _withdrawn(move) if c.variant not in written]
    asked = sum(counts.desired for counts in move.view.counts.values())
    if going and not steps.changes and asked == sum(c.seen - c.want for c in going):
        # A pool of which nothing is asked would not come back without Joulery: the goal takes the place first.
        return move.grown(move.variant, 1, reasons.RESHARD_SURGE, "in place of what never served")
    return replace(steps, changes=(*going, *steps.changes))


def _onwards(move: Move) -> Steps:
    surge = _surge(move)
    if surge is not None:
        return surge
    coming = move.counts(move.variant).coming
    if coming:
        return move.wait(reasons.RESHARDING, f"{coming} of {move.variant.name} are starting")
    if not move.view.may_shrink:
        return move.wait(reasons.RESHARDING, "metrics are not to be trusted, so nothing is taken away")
    if move.desired >= move.goal:
        return _shrink(move)
    if move.room(move.variant) > 0:
        why = f"{move.variant.name} beside what runs would carry less than {move.need_rps:.2f} requests/s"
        return hold_load(move) or move.wait(reasons.RESHARDING, why, cramped=True)
    return make_room(move)


def _withdrawn(move: Move) -> list[ScaleChange]:
    """Old replicas that found no node or do not start go first: they would take the GPUs that others need."""
    if move.view.is_stale:
        return []
    return [
        move.change(
            v, counts.desired - counts.absent, reasons.RESHARD_SHRINK, f"{counts.absent} never served"
        )
        for v, counts in ((v, move.counts(v)) for v in move.old)
        if counts.absent and not counts.coming
    ]


def _surge(move: Move) -> Steps | None:
    """More of the target variant, as many as free GPUs allow and the mixed pool can bear."""
    more = min(move.goal - move.desired, move.room(move.variant))
    if more <= 0 or _drags_down(move, move.desired + more):
        return None
    why = f"goal {move.goal}, before the old ones go"
    return move.grown(move.variant, more, reasons.RESHARD_SURGE, why)


def _drags_down(move: Move, want: int) -> bool:
    """Whether so many weak replicas beside strong ones carry less than the need: all get the same share."""
    mixed = move.capacity_rps({move.variant.name: want})
    return mixed < move.need_rps and mixed < move.capacity_rps({})


def _shrink(move: Move) -> Steps:
    """As many of the old ones as the others can spare, all at best."""
    for variant in move.old:
        for want in range(move.counts(variant).desired):
            if _is_spared(move, variant, want):
                change = move.change(variant, want, reasons.RESHARD_SHRINK, f"{move.variant.name} is ready")
                return Steps((change,), move.free)
    return move.wait(reasons.RESHARDING, f"{move.need_rps:.2f} requests/s need the old replicas still")


def _is_spared(move: Move, variant: Variant, want: int) -> bool:
    """Whether the rest carries the need, or as much without the others: weak ones may hold strong ones back.

    What starts goes only where ready ones carry the need, since it may be what is to carry it. And where not one may
    be lost as it is, losing one makes no difference: so the rest is judged without spares as well.
    """
    counts, whole = move.counts(variant), move.view.sharing.without_spares()
    takes_coming = bool(counts.coming) and want < counts.expected
    enough_rps = move.need_rps if takes_coming else min(move.need_rps, move.capacity_rps({}, whole))
    left = {variant.name: min(want, counts.serving)}
    redundant = move.goal_sharing()
    return move.capacity_rps(left, whole) >= enough_rps and move.capacity_rps(left, redundant) >= min(
        move.need_rps, move.capacity_rps({}, redundant)
    )
